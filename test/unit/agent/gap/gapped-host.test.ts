import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deadlineIn, remainingMs } from '../../../../agent/gap/deadline.js'
import type { Gap } from '../../../../agent/gap/gap-state.js'
import { GappedHost } from '../../../../agent/gap/gapped-host.js'
import { Gaps } from '../../../../agent/gap/gaps.js'
import type { ServiceHolds } from '../../../../agent/hold/service-holds.js'
import type { Conntrack } from '../../../../agent/kernel/conntrack.js'
import { describeStep } from '../../../../agent/kernel/describe-step.js'
import { Ledger } from '../../../../agent/ledger.js'
import { elementsText } from '../../../../agent/plan/elements.js'
import type { HostSpec } from '../../../../proto/model/host-spec.js'
import { FakeKernel } from '../../../fakes/fake-kernel.js'
import { forward, name, new4, new6, old4, old6, serve, service, spec, tunnel } from '../plan/specs.js'

const stay = service(
  'web',
  [forward(['tcp', 443], { local: new4, peer: old4 }), forward(['tcp', 443], { local: new6, peer: old6 })],
  { stage: 'moving' },
)
const next = service('web', [serve(['tcp', 443], new4), serve(['tcp', 443], new6)], {
  stage: 'moving',
  active: name('new'),
})
const confirmed: HostSpec = spec([tunnel(1)], [stay], 1)
const gap = (): Gap => ({
  ...{
    service: name('web'),
    id: 'a',
    phase: 'open',
    letGo: false,
    met: true,
    alone: false,
    // No time is left, so that a look tells how it is.
    deadline: deadlineIn(0),
  },
  plan: {
    ...{ role: 'target', stay, next, environment: {}, checks: [], timeoutMs: 1, tunnel: 1, port: 1, secret: '' },
    lifecycle: { kind: 'run', start: '', stop: '' },
  },
})

describe('a host with a service in a gap', () => {
  let directory: string
  let kernel: FakeKernel
  let host: GappedHost
  const start = async (): Promise<GappedHost> =>
    new GappedHost(kernel, await Ledger.open(join(directory, 'ledger')), { log: () => {} })
  const actions = (): unknown[] => host.spec!.services[0]!.routes.map(({ action }) => action.kind)

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'gap-'))
    kernel = new FakeKernel({
      links: [{ name: 'eth0', kind: '', mtu: 1500, up: true, vxlan: null }],
      addresses: [{ device: 'eth0', ip: new4, prefix: 24 }],
      uplinks: [{ family: 4, device: 'eth0' }],
    })
    host = await start()
    await host.apply(confirmed, 60_000)
    await host.confirm(1)
    await host.addGap(gap())
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))

  const turn = (change: Partial<Gap>): Promise<Gap> => host.turnGap('a', (known) => ({ ...known, ...change }))

  const keys = [`${new4} . tcp . 443`, `${new6} . tcp . 443`]
  const waiting = {
    ...{ table: 'fleetmove-hold', set: 'held4', key: keys[0]!, verdict: 'goto hold-0', timeoutMs: 9000 },
  }

  test('pauses and lets go by one message each, without a look, and confirms what has become of it', async () => {
    const looks = jest.spyOn(kernel, 'observe')
    const before = kernel.performed.length
    await host.turnGap('a', (known) => ({ ...known, phase: 'paused' }), [waiting])
    expect([actions(), host.spec?.services[0]?.active]).toEqual([['pause', 'pause'], stay.active])
    await turn({ phase: 'started', letGo: true })
    expect([actions(), host.spec?.services[0]?.active]).toEqual([['serve', 'serve'], next.active])
    const words = kernel.performed
      .slice(before)
      .map((step) => (step.do === 'change-elements' ? elementsText(step) : step.do))
    expect([words, looks.mock.calls.length]).toEqual([
      [
        `add element inet fleetmove override4 { ${keys[0]} : drop }
add element inet fleetmove override6 { ${keys[1]} : drop }
add element inet fleetmove-hold held4 { ${keys[0]} timeout 9000ms : goto hold-0 }
`,
        `delete element inet fleetmove override4 { ${keys[0]} }
delete element inet fleetmove override6 { ${keys[1]} }
add element inet fleetmove override4 { ${keys[0]} : goto here-web-1 }
add element inet fleetmove override6 { ${keys[1]} : goto here-web-1 }
`,
      ],
      0,
    ])
    await host.settleGap('a')
    expect([actions(), await host.drift(), kernel.performed.at(-1)?.do]).toEqual([
      ['serve', 'serve'],
      [],
      'load-ruleset',
    ])
    expect(host.confirmed).toEqual(confirmed)
    await host.closeGap('a', next)
    expect([host.confirmed, host.gaps, await host.drift()]).toEqual([{ ...confirmed, services: [next] }, [], []])
  })

  test('goes back by one message, too, and from a move that was settled already', async () => {
    await turn({ phase: 'paused' })
    const before = kernel.performed.length
    await turn({ phase: 'yielded', letGo: true })
    expect(kernel.performed.slice(before).map((step) => step.do)).toEqual(['change-elements'])
    expect([actions(), await host.drift()]).toEqual([['forward', 'forward'], []])
    await turn({ phase: 'started' })
    await host.settleGap('a')
    await turn({ letGo: false, settled: false })
    expect([actions(), await host.drift()]).toEqual([['pause', 'pause'], []])
    await turn({ phase: 'yielded', letGo: true })
    expect([actions(), await host.drift()]).toEqual([['forward', 'forward'], []])
  })

  test('is settled only once clients go on, and forgotten without a trace', async () => {
    await turn({ phase: 'paused' })
    await host.settleGap('a')
    expect([actions(), host.gaps[0]?.settled]).toEqual([['pause', 'pause'], undefined])
    await host.dropGap('a')
    expect([actions(), await host.drift()]).toEqual([['forward', 'forward'], []])
    expect(kernel.performed.at(-1)).toMatchObject({
      text: expect.stringContaining('delete chain inet fleetmove here-web-1'),
    })
  })

  test('what waits beside a change of rules is in the same transaction', async () => {
    await turn({ phase: 'started', letGo: true })
    await host.settleGap('a')
    await host.turnGap('a', (known) => ({ ...known, letGo: false, settled: false }), [waiting])
    const last = kernel.performed.at(-1)
    expect(last?.do === 'load-ruleset' && last.text).toContain(elementsText({ remove: [], add: [waiting] }))
  })

  test('a disk that takes nothing keeps the gap alive, which can be ended once it does', async () => {
    const cancelled: string[] = []
    const holds = { cancel: async (of: string) => void cancelled.push(of) } as unknown as ServiceHolds
    const gaps = new Gaps({ host, holds, conntrack: {} as Conntrack, clear: async () => {}, log: () => {} })
    gaps.resume()
    await turn({ phase: 'started', letGo: true })
    jest.spyOn(host, 'closeGap').mockRejectedValueOnce(new Error('EROFS: read-only file system'))
    await expect(gaps.finish('a', 'target')).rejects.toThrow('EROFS')
    expect([host.gaps.length, cancelled]).toEqual([1, []])
    await gaps.finish('a', 'target')
    expect([host.gaps, cancelled, actions()]).toEqual([[], ['web'], ['serve', 'serve']])
    await gaps.close()
  })

  test('goes back the same way', async () => {
    await turn({ phase: 'paused' })
    await turn({ phase: 'yielded', letGo: true })
    await host.closeGap('a', stay)
    expect([host.confirmed, await host.drift()]).toEqual([confirmed, []])
  })

  test('looks first where somebody else has changed the table meanwhile', async () => {
    kernel.meddle({ deleteTable: true })
    kernel.refuseNext((step) => step.do === 'load-ruleset' && !step.hooks, 'there is no such table')
    await turn({ phase: 'paused' })
    expect(await host.drift()).toEqual([])
  })

  test('is not looked at while clients wait or are about to, and is mended when the time is over', async () => {
    await host.changeGap('a', (known) => ({ ...known, deadline: deadlineIn(60_000) }))
    const looks = jest.spyOn(kernel, 'observe')
    // A look that was asked for before, and whose turn comes in the gap.
    const [first] = await Promise.all([host.drift(), turn({ phase: 'paused' }), host.drift()])
    expect([first, looks.mock.calls.length]).toEqual([[], 0])
    kernel.meddle({ deleteTable: true })
    const mend = (): Promise<unknown[]> => host.mend({ leave: () => false, before: () => {} })
    expect(await mend()).toEqual([])
    await host.changeGap('a', (known) => ({ ...known, deadline: { boot: 'another', atMs: Number.MAX_SAFE_INTEGER } }))
    expect(remainingMs(host.gaps[0]!)).toBe(0)
    expect((await mend()).length).toBeGreaterThan(0)
    expect(await host.drift()).toEqual([])
  })

  test('stands paused again after a restart, and knows its phase', async () => {
    await host.changeGap('a', (known) => ({ ...known, phase: 'paused' }))
    host = await start()
    await host.restore()
    expect([host.gaps[0]?.phase, actions(), await host.drift()]).toEqual(['paused', ['pause', 'pause'], []])
    kernel.meddle({ deleteOverrides: true })
    expect((await host.drift()).map(describeStep)).toEqual([`let new clients of ${new4} tcp 443 and 1 more wait`])
    await expect(host.changeGap('b', (known) => known)).rejects.toMatchObject({ code: 'stale' })
  })

  test('another change neither ends nor forgets it, and one that is undone leaves it as it is', async () => {
    await turn({ phase: 'paused' })
    const other = service('mail', [serve(['tcp', 25], new4)])
    const more: HostSpec = { ...confirmed, generation: 2, services: [stay, other] }
    await host.apply(more, 60_000)
    expect(actions()).toEqual(['pause', 'pause'])
    await turn({ phase: 'started', letGo: true })
    await host.revert(2)
    expect([actions(), await host.drift()]).toEqual([['serve', 'serve'], []])
  })
})
