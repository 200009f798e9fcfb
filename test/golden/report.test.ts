/** The report: what it says of a move, that nothing gets out of its place, and how a browser shows it. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inflateSync } from 'node:zlib'
import { valueSteps } from '../../cli/render/report/charts.js'
import { html } from '../../cli/render/report/html.js'
import { reportPage } from '../../cli/render/report/page.js'
import { span, ticks } from '../../cli/render/report/times.js'
import { parseFleet } from '../../controller/config/load-fleet.js'
import { bucketLength, buckets } from '../../controller/plan/arrivals-over-time.js'
import { siteFirewall } from '../../controller/plan/site-firewall.js'
import { stageTimes } from '../../controller/plan/stage-times.js'
import { compose } from '../../controller/report.js'
import { expectGolden } from './golden.js'
import { name, sample, sampleReport } from './report-sample.js'

const nobody = { specs: new Map(), rows: new Map(), unasked: [] }

describe('what is known', () => {
  test('of a finished move, from journal and record alone', () => {
    const { services, runs, moves, changes, verifications, begun, ended } = sampleReport()
    expect(services.map(({ stage }) => stage)).toEqual(['finalized', 'finalized', 'finalized', 'finalized'])
    expect(services[0]!.stages.map(({ stage }) => stage)).toEqual(['forwarding', 'moving', 'moved', 'finalized'])
    expect(runs.map(({ outcome }) => outcome)).toEqual(['done', 'health', 'done', 'done', null, 'gate', 'done'])
    expect(moves.find(({ service }) => service === 'mail')).toMatchObject({
      switchMs: 1840,
      hold: { clients: 37, dropped: 0 },
      drain: { left: 0 },
    })
    expect(moves.find(({ service }) => service === 'ftp')).toMatchObject({ hold: null, drain: null })
    expect(changes.map(({ host, events }) => [host, events.map(({ what }) => what)])).toEqual([
      ['old', ['installed', 'changed', 'cleaned']],
      ['new', ['installed', 'changed', 'undone', 'cleaned']],
    ])
    expect(verifications).toHaveLength(9)
    expect(ended! - begun!).toBeGreaterThan(45 * 3_600_000)
    const { arrivals } = sampleReport()
    const sum = (values: number[]): number => Math.round(values.reduce((all, each) => all + each, 0))
    expect(sum(arrivals!.old)).toBe(services.reduce((all, { byOld }) => all + byOld, 0))
  })

  test('in the middle of a move, with a host that cannot be asked', () => {
    const known = sample(5)
    const now = Date.parse('2026-11-20T01:00:00Z')
    const unasked = [{ host: name('old'), why: 'timed out <script>alert(1)</script>' }]
    const report = compose({ ...known, live: { ...nobody, unasked }, now })
    expect(report.ended).toBe(now)
    expect(report.services.map(({ stage }) => stage)).toEqual(['moved', 'forwarding', 'forwarding', 'forwarding'])
    const page = reportPage(report)
    expect(page).toContain('<b>old</b> could not be asked (timed out &lt;script&gt;alert(1)&lt;/script&gt;)')
    expect(page).toContain('not moved yet: mail, ftp, api')
  })

  test('of a fleet for which nothing was done', () => {
    const { fleet } = sample()
    const page = reportPage(compose({ fleet, entries: [], record: [], live: nobody, now: 0 }))
    expect(page).toContain('Nothing of this fleet is on record')
  })
})

describe('the page', () => {
  const page = reportPage(sampleReport())

  test('is one file: no script, nothing that is loaded', () => {
    expect(page).not.toMatch(/<script|<link|<img|<iframe|@import|url\(/i)
    expect(page).not.toMatch(/\s(src|href|srcset|on[a-z]+)=/i)
    expect(page).toContain("default-src 'none'")
  })

  test('whatever came from a host is text', () => {
    expect(page).toContain('&lt;b&gt;http://127.0.0.1:80/healthz&lt;/b&gt; answered 503')
    expect(html`<p title="${'"><x y=\'&'}">${['<', '>'].join('')}</p>`.text).toBe(
      '<p title="&quot;&gt;&lt;x y=&#39;&amp;">&lt;&gt;</p>',
    )
  })

  test.each([
    'Stages',
    'Arrivals by address',
    'Switches',
    'Proofs',
    'Commands',
    'Changes to the hosts',
    'The firewall from now on',
  ])('has a part "%s"', (title) => expect(page).toContain(`<h2>${title}</h2>`))

  test('receipts, exit codes and what was put back are told', () => {
    expect(page).toContain('192.0.2.77:41234 → 203.0.113.10:52820, 64 B')
    expect(page).toContain('exit 6, gate')
    expect(page).toContain('did not end in order')
    expect(page).toContain('as it was found')
  })
})

describe('the firewall from now on', () => {
  const { fleet } = sample()
  const { nft } = siteFirewall('new', [...fleet.services.values()], 2222)

  test('as text', () => expectGolden('terminal/site-firewall.nft', nft))

  const why =
    process.getuid?.() === 0 && spawnSync('nft', ['--version']).status === 0 ? undefined : 'nft and root are needed'
  if (why) console.warn(`Skipped: loading the firewall: ${why}`)
  ;(why ? test.skip : test)('is loaded by the kernel, twice', () => {
    const directory = mkdtempSync(join(tmpdir(), 'fleetmove-firewall-'))
    try {
      writeFileSync(join(directory, 'site.nft'), nft)
      const twice = `nft -f ${directory}/site.nft && nft -f ${directory}/site.nft && nft list table inet site`
      const { status, stdout, stderr } = spawnSync('unshare', ['-n', 'sh', '-c', twice], { encoding: 'utf8' })
      expect(stderr).toBe('')
      expect(status).toBe(0)
      expect(stdout).toContain('redirect to :9443')
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })

  test('a fleet without other ports and helpers needs neither', () => {
    const plain = parseFleet(
      'fleet: a\nhosts: {o: {ssh: o, addresses: [192.0.2.1]}, n: {ssh: n, addresses: [192.0.2.2]}}\nservices: {w: {from: o, to: n, listen: [tcp/80]}}\n',
      'f',
    )
    const text = siteFirewall('n', [...plain.services.values()], 22).nft
    expect(text).not.toMatch(/helper|nat/)
    expect(text).toContain('tcp dport 80 accept comment "w"')
  })
})

describe('figures', () => {
  test('a span over several columns is spread evenly, and nothing is lost', () => {
    const row = { service: 'web', from: 5000, to: 25_000, forwarded: 10, served: 10 }
    const { old, bucketMs } = buckets({ old: [row], new: [] }, 0, 30_000, 3)
    expect(bucketMs).toBe(10_000)
    expect(old).toEqual([5, 10, 5])
  })
  test('lengths are round', () =>
    expect([60_000, 3_600_000, 7 * 86_400_000, 400 * 86_400_000].map((ms) => bucketLength(ms, 120))).toEqual([
      1000, 30_000, 7_200_000, 345_600_000,
    ]))
  test.each([
    [0, [0, 1]],
    [0.9, [0, 0.25, 0.5, 0.75, 1]],
    [86, [0, 25, 50, 75, 100]],
    [100, [0, 25, 50, 75, 100]],
    [12_345, [0, 5000, 10_000, 15_000]],
  ])('values up to %d', (peak, steps) => expect(valueSteps(peak)).toEqual(steps))
  test('ticks are round times', () => {
    const from = Date.parse('2026-11-19T22:30:00Z')
    expect(ticks(from, from + 6 * 3_600_000, 4).map(({ label }) => label)).toEqual(['20 Nov', '02:00', '04:00'])
    expect(ticks(from, from + 20_000, 4).map(({ label }) => label)).toEqual([
      '22:30:00',
      '22:30:05',
      '22:30:10',
      '22:30:15',
      '22:30:20',
    ])
  })
  test('spans', () =>
    expect([43, 1840, 64_000, 7_500_000, 266_400_000].map(span)).toEqual([
      '43 ms',
      '1.8 s',
      '1 min 4 s',
      '2 h 5 min',
      '3 d 2 h',
    ]))
  test('the same stage again is no change', () =>
    expect(
      stageTimes([
        { at: 1, stage: 'forwarding' },
        { at: 2, stage: 'forwarding' },
        { at: 5, stage: 'moved' },
      ]),
    ).toEqual([
      { stage: 'forwarding', from: 1, to: 5 },
      { stage: 'moved', from: 5, to: null },
    ]))
})

const chromium = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
)
if (!chromium) console.warn('Skipped: the report in a browser: there is no Chromium')

;(chromium ? describe : describe.skip)('in a browser', () => {
  let directory = ''
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'fleetmove-report-'))
    writeFileSync(join(directory, 'report.html'), reportPage(sampleReport()))
  })
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  const browse = (...args: string[]) => {
    const common = [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--hide-scrollbars',
    ]
    const own = [`--user-data-dir=${join(directory, 'profile')}`, '--window-size=1200,1000', ...args]
    return spawnSync(chromium!, [...common, ...own, `file://${join(directory, 'report.html')}`], {
      encoding: 'utf8',
      timeout: 60_000,
    })
  }

  test('it is read whole, and every drawing has a size', () => {
    const { stdout } = browse('--dump-dom')
    expect(stdout).toContain('All times are UTC.')
    expect(stdout.match(/<svg viewBox="0 0 \d+ \d+"/g)).toHaveLength(6)
    expect(stdout).not.toContain('NaN')
  }, 70_000)

  test.each([
    ['light', '1', [0xf6, 0xf7, 0xf9]],
    ['dark', '0', [0x0e, 0x13, 0x1a]],
  ])(
    'its ground is %s where the reader wants that',
    (scheme, setting, ground) => {
      const file = join(directory, `${scheme}.png`)
      browse(`--blink-settings=preferredColorScheme=${setting}`, `--screenshot=${file}`)
      const png = readFileSync(file)
      expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([1200, 1000])
      expect(firstPixel(png)).toEqual(ground)
      // A page on which nothing is drawn compresses to a few kilobytes.
      expect(png.length).toBeGreaterThan(40_000)
    },
    70_000,
  )
})

/** Red, green, blue of the upper left corner (PNG, 9: of the first pixel no filter changes anything). */
function firstPixel(png: Buffer): number[] {
  const parts: Buffer[] = []
  for (let offset = 8; offset < png.length; ) {
    const length = png.readUInt32BE(offset)
    if (png.toString('latin1', offset + 4, offset + 8) === 'IDAT')
      parts.push(png.subarray(offset + 8, offset + 8 + length))
    offset += length + 12
  }
  return [...inflateSync(Buffer.concat(parts)).subarray(1, 4)]
}
