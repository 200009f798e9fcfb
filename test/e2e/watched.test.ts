/** What is told while a move goes on: `watch`, the connection log, and figures for Prometheus. */
import type { WatchFrame } from '../../controller/watch.js'
import { addressesOf, type Event, endPractices, type Practice, startPractice, until, withRoot } from './practice.js'

jest.setTimeout(600_000)
afterAll(endPractices)

const [old4 = ''] = addressesOf('old1')
const [new4 = '', new6 = ''] = addressesOf('new1')
const textfile = '/root/fleetmove.prom'
const socket = '/run/fleetmove-figures.sock'

interface Line {
  start: string | null
  end: string
  service: string
  client: string
  clientPort: number
  address: string
  port: number
  forwarded: boolean
  received: number
  sent: number
}

withRoot('what is told of a move', () => {
  let practice: Practice
  let fleet: string
  beforeAll(async () => {
    practice = await startPractice(`watched-${process.pid}`)
    fleet = await practice.shell('controller', 'cat /root/fleet.yaml')
    await practice.fleet(`${fleet}log: { metrics: ${textfile} }\n`)
    await practice.must('up', '--log-connections', '-y')
  })

  /** Connections from ports that are known, one after the other. @returns bytes of each body */
  const connect = async (url: string, first: number, count: number): Promise<number[]> => {
    const said = await practice.shell(
      'client1',
      `for port in $(seq ${first} ${first + count - 1}); do
         curl -sS --max-time 10 --local-port $port -o /dev/null -w '%{size_download}\\n' '${url}' || exit 1
       done`,
      60_000,
    )
    return said.trim().split('\n').map(Number)
  }
  const logged = async (host: string): Promise<Line[]> =>
    (await practice.shell(host, 'cat /var/lib/fleetmove/connections.jsonl'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Line)
  const frames = async (words: string): Promise<WatchFrame[]> =>
    (await practice.expect(`watch ${words}`)).events as unknown as WatchFrame[]

  test('each connection is written down once, where it came in, with its times and bytes', async () => {
    const begun = Date.now()
    const bodies = [...(await connect(`http://${new4}/`, 41001, 12)), ...(await connect(`http://[${new6}]/`, 41101, 8))]
    await connect(`http://${old4}/`, 41201, 10)
    // The kernel would forget them in two minutes.
    for (const host of ['old1', 'new1'])
      for (const family of ['ipv4', 'ipv6'])
        await practice.shell(host, `conntrack -D -f ${family} -p tcp --orig-port-dst 80 >/dev/null 2>&1 || true`)
    const own = async (host: string): Promise<Line[]> =>
      (await logged(host)).filter(({ clientPort }) => clientPort >= 41001 && clientPort <= 41210)
    await until('the lines', async () => (await own('new1')).length >= 20 && (await own('old1')).length >= 10)
    const [byNew, byOld] = [await own('new1'), await own('old1')]
    const ports = (lines: Line[]): number[] => lines.map(({ clientPort }) => clientPort).sort()
    const row = (first: number, count: number): number[] => Array.from({ length: count }, (_, i) => first + i)
    expect(ports(byNew)).toEqual([...row(41001, 12), ...row(41101, 8)])
    expect(ports(byOld)).toEqual(row(41201, 10))
    for (const [i, line] of byNew.sort((a, b) => a.clientPort - b.clientPort).entries()) {
      const four = line.clientPort < 41100
      expect(line).toMatchObject({ service: 'web', port: 80, forwarded: true, address: four ? new4 : new6 })
      expect(line.client).toBe(four ? '198.18.0.11' : '2001:db8:c::11')
      // With the headers of HTTP, TCP and IP.
      expect(line.sent).toBeGreaterThan(bodies[i]!)
      expect(line.sent).toBeLessThan(bodies[i]! + 2000)
      expect(line.received).toBeGreaterThan(200)
      expect(Date.parse(line.start!)).toBeGreaterThanOrEqual(begun - 1000)
      expect(Date.parse(line.end)).toBeGreaterThanOrEqual(Date.parse(line.start!))
    }
    for (const line of byOld) expect(line).toMatchObject({ forwarded: false, address: old4, client: '198.18.0.11' })
    const mode = await practice.shell('new1', 'stat -c %a /var/lib/fleetmove/connections.jsonl')
    expect(mode).toBe('600\n')
  })

  /** Text format 0.0.4, as its documentation has it: every line, and every family said once, before its samples. */
  const samplesOf = (text: string): Map<string, number> => {
    const samples = new Map<string, number>()
    const types = new Map<string, string>()
    expect(text.endsWith('\n')).toBe(true)
    for (const line of text.slice(0, -1).split('\n')) {
      const [, type, kind] = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge)$/.exec(line) ?? []
      if (type) {
        expect(types.has(type)).toBe(false)
        types.set(type, kind!)
      } else if (!line.startsWith('#')) {
        const [, name, labels, value] =
          /^([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)+)\} (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(
            line,
          ) ?? []
        expect({ line, known: types.has(name!) }).toEqual({ line, known: true })
        expect(samples.has(`${name}{${labels}}`)).toBe(false)
        samples.set(`${name}{${labels}}`, Number(value))
      }
    }
    return samples
  }
  const forwarded = (samples: Map<string, number>): number =>
    samples.get('fleetmove_connections_total{fleet="practice",host="new1",service="web",way="forwarded"}') ?? Number.NaN

  test('figures for Prometheus: a text file, or a unix socket', async () => {
    const text = await practice.shell('new1', `cat ${textfile}`)
    expect(forwarded(samplesOf(text))).toBeGreaterThanOrEqual(0)
    expect(samplesOf(text).get('fleetmove_tunnel_up{fleet="practice",host="new1",peer="old1"}')).toBe(1)
    await practice.fleet(`${fleet}log: { connections: true, metrics: "unix:${socket}" }\n`)
    await practice.must('up', '-y')
    await practice.shell('new1', `test ! -e ${textfile}`)
    const ask = async (): Promise<Map<string, number>> =>
      samplesOf(await practice.shell('new1', `curl -sS --max-time 10 --unix-socket ${socket} http://figures/metrics`))
    const before = forwarded(await ask())
    await connect(`http://${new4}/`, 42001, 5)
    expect(forwarded(await ask())).toBe(before + 5)
    expect(await practice.shell('new1', `stat -c %a ${socket}`)).toMatch(/^6\d0\n$/)
  })

  test('watch tells rates by address as JSON, and ends after --count', async () => {
    const load = await practice.load('client1', { targets: [old4, new4], perSecond: 20 })
    const seen = await frames('--count 4 --interval 1s')
    expect(seen).toHaveLength(4)
    expect(seen.at(-1)).toMatchObject({
      type: 'watch',
      fleet: 'practice',
      services: [{ name: 'web', stage: 'forwarding', active: 'old1' }],
      hosts: [
        { host: 'old1', state: 'watched' },
        { host: 'new1', state: 'watched' },
      ],
      tunnels: [{ a: 'new1', b: 'old1', downForMs: null }],
    })
    const [web] = seen.at(-1)!.services
    expect(web!.trend.byOld.some((rate) => rate !== null && rate > 0)).toBe(true)
    expect(web!.trend.byNew.some((rate) => rate !== null && rate > 0)).toBe(true)
    expect(web!.oldShare).toBeGreaterThan(0)
    expect(web!.oldShare).toBeLessThan(1)
    const { stdout } = await practice.must('watch', '--count', '2', '--interval', '500ms')
    expect(stdout).toMatch(/^(\S+Z {2}web {2}forwarding on old1, old \S+\/s, new \S+\/s, by old .*, tunnel .*\n){2}$/)
    await load.stop()
  })

  test('a host that is away is shown, and watched again when it is back', async () => {
    // Refused, since a silent one would be waited for.
    await practice.shell('old1', 'iptables -I INPUT -p tcp --dport 22 -j REJECT --reject-with tcp-reset')
    const state = (event: Event): string =>
      (event as unknown as WatchFrame).hosts.find(({ host }) => host === 'old1')?.state ?? ''
    const states: string[] = []
    const watching = practice.start('watch --interval 500ms', { onEvent: (event) => void states.push(state(event)) })
    await until('the host missed', () => states.at(-1) === 'unreachable')
    await practice.shell('old1', 'iptables -D INPUT -p tcp --dport 22 -j REJECT --reject-with tcp-reset')
    await until('the host back', () => states.at(-1) === 'watched')
    watching.signal('SIGINT')
    expect(await watching.ended).toMatchObject({ code: 0, stderr: '' })
  })

  test('a drain is told while it goes on', async () => {
    const load = await practice.load('client2', { targets: [old4], perSecond: 1, keepAlive: 1 })
    const standing: number[] = []
    const watching = practice.start('watch --interval 500ms', {
      onEvent: (event) => void standing.push((event as unknown as WatchFrame).services[0]!.standing),
    })
    const moving = practice.run('advance --all')
    await until('the one that stays', () => standing.some((each) => each > 0))
    load.endLong()
    expect((await moving).code).toBe(0)
    await load.stop()
    watching.signal('SIGINT')
    expect((await watching.ended).code).toBe(0)
  })

  test('all of it is gone with the move', async () => {
    await practice.must('down', '-y')
    for (const host of ['old1', 'new1'])
      expect(await practice.shell(host, `ls ${socket} ${textfile} /var/lib/fleetmove 2>/dev/null || true`)).toBe('')
    expect(await practice.shell('new1', 'cat /proc/sys/net/netfilter/nf_conntrack_acct')).toBe('0\n')
  })
})
