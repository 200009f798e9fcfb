/** `watch`: frames on a terminal that is resized, and lines in a pipe. */
import { LiveBlock } from '../../cli/render/live-block.js'
import { watchFrame, watchLines } from '../../cli/render/watch.js'
import type { WatchedService, WatchFrame } from '../../controller/watch.js'
import type { Stage } from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'
import { expectGolden } from './golden.js'
import { TerminalScreen } from './terminal-screen.js'

const style = (_format: unknown, text: string): string => text
const name = (text: string): Name => text as Name
const begun = Date.parse('2026-11-21T12:00:00Z')

function service(title: string, stage: Stage, byOld: (number | null)[], byNew: (number | null)[]): WatchedService {
  const sum = (values: (number | null)[]): number => values.reduce<number>((all, value) => all + (value ?? 0), 0)
  return {
    name: name(title),
    from: name('old1'),
    to: name('new1'),
    active: name(stage === 'moved' ? 'new1' : 'old1'),
    stage,
    byOld: byOld.at(-1) ?? null,
    byNew: byNew.at(-1) ?? null,
    oldShare: sum(byOld) + sum(byNew) > 0 ? sum(byOld) / (sum(byOld) + sum(byNew)) : null,
    trend: { byOld, byNew },
    established: 8,
    standing: stage === 'moving' ? 14 : 0,
    oldest: stage === 'moving' ? { client: '198.18.0.11', ageMs: 125_000, exact: false } : null,
    lastProof: { at: '2026-11-21T11:59:00Z', ok: title !== 'mail', preserved: 24, total: 24 },
  }
}

const ramp = (length: number, value: (i: number) => number): number[] => Array.from({ length }, (_, i) => value(i))

const frame = (second: number, more: Partial<WatchFrame> = {}): WatchFrame => ({
  fleet: name('spring-move'),
  at: begun + second * 1000,
  services: [
    service(
      'web',
      'moved',
      ramp(30, (i) => 40 - i),
      ramp(30, (i) => 2 * i),
    ),
    service(
      'mail',
      'moving',
      ramp(30, (i) => (i % 5) / 2),
      [...ramp(25, () => 0), null, null, 1, 2, 3],
    ),
    service(
      'ftp',
      'forwarding',
      ramp(30, () => 0),
      ramp(30, () => 0),
    ),
  ],
  tunnels: [
    {
      a: name('new1'),
      b: name('old1'),
      driver: 'wireguard',
      mtu: 1420,
      rttMs: 0.93,
      loss: 0,
      downForMs: null,
      detail: '',
    },
  ],
  hosts: [
    { host: name('old1'), state: 'watched', detail: '' },
    { host: name('new1'), state: 'watched', detail: '' },
  ],
  ...more,
})

const lost = (second: number): WatchFrame =>
  frame(second, {
    services: [service('web', 'moved', [4, 5, null, null], [1, 2, 3, 4])],
    tunnels: [
      {
        a: name('new1'),
        b: name('old1'),
        driver: 'wireguard',
        mtu: 1420,
        rttMs: null,
        loss: 0.004,
        downForMs: 7000,
        detail: 'new1: the device fm1 is gone',
      },
    ],
    hosts: [
      { host: name('old1'), state: 'unreachable', detail: '203.0.113.10 port 22: timed out' },
      { host: name('new1'), state: 'watched', detail: '' },
    ],
  })

const page = (columns: number, rows: number) => ({ columns, rows: rows - 1, style, hint: 'every 1 s, ctrl-C ends' })

test.each([80, 120])('frames of %d columns', (columns) => {
  const text = [frame(0), lost(1)].map((each) => `${watchFrame(each, page(columns, 24)).join('\n')}\n`).join('---\n')
  for (const line of text.split('\n')) expect([...line].length).toBeLessThan(columns + 1)
  expectGolden(`terminal/watch-${columns}.txt`, text)
})

test('the screen shows the newest frame alone, what was before it stays, and the cursor comes back', () => {
  const screen = new TerminalScreen(80, 24)
  screen.write('$ fleetmove watch\n')
  const block = new LiveBlock(screen, { hideCursor: true })
  for (let second = 0; second < 5; second++) block.set(watchFrame(frame(second), page(80, 24)))
  expect(screen.cursorHidden).toBe(true)
  const newest = watchFrame(frame(4), page(80, 24)).join('\n')
  expect(screen.text()).toBe(`$ fleetmove watch\n${newest}\n`)
  block.keep()
  screen.write('$ ')
  expect(screen.cursorHidden).toBe(false)
  expect(screen.text()).toBe(`$ fleetmove watch\n${newest}\n$\n`)
})

test('more services than rows are counted', () => {
  const many = frame(0, { services: ramp(1000, (i) => i).map((i) => service(`site-${i}`, 'forwarding', [1], [1])) })
  const lines = watchFrame(many, page(80, 24))
  expect(lines).toHaveLength(23)
  expect(lines.at(-1)).toMatch(/^… and 98\d more/)
})

test('in a pipe: a line for each service, and what is wrong once', () => {
  const lines = watchLines()
  expectGolden('terminal/watch-pipe.txt', [frame(0), lost(1), lost(2), frame(3)].map(lines).join(''))
})
