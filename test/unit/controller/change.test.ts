import { change } from '../../../controller/change.js'
import type { Fleet, Service } from '../../../controller/config/fleet.js'
import type { TunnelPair } from '../../../controller/plan/tunnel-pair.js'
import { Turns } from '../../../controller/turns.js'
import type { World } from '../../../controller/world.js'
import { FleetmoveError } from '../../../proto/model/error.js'
import type { HostSpec, TunnelSpec } from '../../../proto/model/host-spec.js'
import type { Name } from '../../../proto/model/names.js'

const name = (text: string): Name => text as Name
const [old1, new1, new2, web, api] = ['old1', 'new1', 'new2', 'web', 'api'].map(name) as [Name, Name, Name, Name, Name]

const end = (peer: Name, index: number): TunnelSpec =>
  ({ index, peer, peerAddresses: [], probe: { port: 1, pairs: [] } }) as unknown as TunnelSpec
const holds = (host: Name, ...tunnels: TunnelSpec[]): [Name, HostSpec] => [
  host,
  { fleet: name('spring'), host, generation: 3, tunnels, services: [] },
]
const service = (text: Name, to: Name): Service =>
  ({ name: text, from: old1, to, listen: [], addresses: [] }) as unknown as Service
const fleet = {
  name: 'spring',
  hosts: new Map([old1, new1, new2].map((host) => [host, { addresses: [] }])),
  services: new Map([service(web, new1), service(api, new2)].map((each) => [each.name, each])),
} as unknown as Fleet

/** `web` and `api` are forwarded; whoever holds no spec has no agent. */
function worldOf(specs: Map<Name, HostSpec>, pairs: TunnelPair[]) {
  const applied: string[] = []
  const agent = (host: Name) => ({
    host,
    apply: async (spec: HostSpec) => {
      applied.push(`${host}: tunnels to ${spec.tunnels.map(({ peer }) => peer).join(' and ') || 'nobody'}`)
      return { steps: [] }
    },
    revert: async () => [],
  })
  const world = {
    ...{ fleet, specs, pairs, locals: new Map(), generation: 3, confirmWithinMs: 1, turns: new Turns() },
    states: new Map([web, api].map((each) => [each, { stage: 'forwarding', active: old1 }])),
    agents: new Map([...specs.keys()].map((host) => [host, agent(host)])),
    sites: new Map([...specs.keys()].map((host) => [host, { anew: async () => {} }])),
  } as unknown as World
  return { world, applied }
}

const pair = (a: Name, b: Name, index: number): TunnelPair => ({
  a,
  b,
  ends: { [a]: end(b, index), [b]: end(a, index) },
})

describe('a change while a host has no agent', () => {
  const specs = new Map([holds(old1, end(new1, 1), end(new2, 2)), holds(new1, end(old1, 1))])

  it('is refused, whatever it is about: it would take the way of other clients', async () => {
    const { world, applied } = worldOf(new Map(specs), [pair(new1, old1, 1)])
    const states = new Map([[web, { stage: 'moving' as const, active: old1 }]])
    const refusal = await change(world, { states }).catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(FleetmoveError)
    expect(refusal).toMatchObject({ code: 'unreachable', host: new2, message: expect.stringContaining('api') })
    expect(applied).toEqual([])
  })

  it('says what an agent lacks that has lost its state', async () => {
    const { world } = worldOf(new Map([...specs, holds(new2)]), [pair(new1, old1, 1)])
    await expect(change(world, {})).rejects.toMatchObject({ host: new2, message: expect.stringContaining('no end') })
  })

  it('passes where nobody needs that host any more: its peers lose their ends', async () => {
    const { world, applied } = worldOf(new Map(specs), [pair(new1, old1, 1)])
    await change(world, { states: new Map([[api, { stage: 'planned' as const, active: old1 }]]) })
    expect(applied).toContain('old1: tunnels to new1')
  })

  it('may take an end without its other away, and the host keeps in mind where services are', async () => {
    const { world, applied } = worldOf(new Map([holds(new2, end(old1, 2))]), [])
    await change(world, { untied: true })
    expect(applied).toEqual(['new2: tunnels to nobody'])
    expect(world.specs.get(new2)!.services).toMatchObject([
      { name: api, stage: 'forwarding', active: old1, routes: [] },
    ])
  })
})

describe('changes at the same time', () => {
  const [old2, new3] = [name('old2'), name('new3')]
  const mail = name('mail')
  const apart = {
    ...fleet,
    hosts: new Map([...fleet.hosts.keys(), old2, new3].map((host) => [host, { addresses: [] }])),
    services: new Map([...fleet.services, [mail, { ...service(mail, new3), from: old2 }]]),
  } as unknown as Fleet
  const specs = new Map([
    holds(old1, end(new1, 1), end(new2, 2)),
    ...[holds(new1, end(old1, 1)), holds(new2, end(old1, 2)), holds(old2, end(new3, 1)), holds(new3, end(old2, 1))],
  ])
  const pairs = [pair(new1, old1, 1), pair(new2, old1, 2), pair(new3, old2, 1)]
  const moving = { stage: 'moving' as const, active: old1 }
  const start = () => {
    const { world } = worldOf(new Map(specs), pairs)
    Object.assign(world, { fleet: apart, states: new Map([...world.states, [mail, { ...moving, active: old2 }]]) })
    const told: string[] = []
    const waiting = new Map<Name, () => void>()
    const ask = (of: Name, check = () => new Promise<void>((go) => waiting.set(of, go))): Promise<unknown> =>
      change(world, { states: new Map([[of, { ...moving, stage: 'moved' as const }]]), check }).then(
        () => told.push(of),
        () => told.push(`${of} failed`),
      )
    return { world, told, waiting, ask }
  }
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

  it('wait for those that have a host in common with them, and for no others', async () => {
    const { world, told, waiting, ask } = start()
    const all = [web, api, mail].map((each) => ask(each))
    await turn()
    // `api` has old1 in common with `web`.
    expect([...waiting.keys()]).toEqual([web, mail])
    waiting.get(mail)!()
    await turn()
    expect(told).toEqual([mail])
    waiting.get(web)!()
    await turn()
    waiting.get(api)!()
    await Promise.all(all)
    expect(told).toEqual([mail, web, api])
    // None has put the state of another back.
    expect([...world.states.values()].map(({ stage }) => stage)).toEqual(['moved', 'moved', 'moved'])
    const generations = [old1, new1, new2, old2, new3].map((host) => world.specs.get(host)!.generation)
    expect(generations).toEqual([6, 4, 6, 5, 5])
  })

  it('of which one fails: the others stand, and who waited for it goes on', async () => {
    const { world, told, ask } = start()
    await Promise.all([
      ask(web, () => Promise.reject(new Error('no'))),
      ask(api, async () => {}),
      ask(mail, async () => {}),
    ])
    expect(told.sort()).toEqual([api, mail, 'web failed'])
    expect([web, api, mail].map((each) => world.states.get(each)?.stage)).toEqual(['forwarding', 'moved', 'moved'])
  })

  it('of the whole fleet wait for all, and all later ones for it', async () => {
    const { world, told, waiting, ask } = start()
    const all = [ask(mail), change(world, { pairs }).then(() => told.push('pairs')), ask(web)]
    await turn()
    expect([...waiting.keys()]).toEqual([mail])
    waiting.get(mail)!()
    await all[1]
    expect(told).toEqual([mail, 'pairs'])
    await turn()
    waiting.get(web)!()
    await Promise.all(all)
  })
})
