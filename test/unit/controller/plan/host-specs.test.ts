import type { Fleet, Service } from '../../../../controller/config/fleet.js'
import {
  hostSpecs,
  isHalfDone,
  type Locals,
  type SpecsInput,
  type States,
  statesOf,
} from '../../../../controller/plan/host-specs.js'
import { makePair, type PairHost } from '../../../../controller/plan/tunnel-pair.js'
import { decodeHostSpec, encodeHostSpec } from '../../../../proto/codec.js'
import type { Ip } from '../../../../proto/model/address.js'
import type { HostSpec, ServiceRoute, Stage } from '../../../../proto/model/host-spec.js'
import type { Name } from '../../../../proto/model/names.js'

const ip = (text: string): Ip => text as Ip
const name = (text: string): Name => text as Name
const [old, fresh] = [name('old'), name('new')]
const key = 'HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw='

const addresses = {
  old: ['203.0.113.10', '203.0.113.11', '2001:db8:a::10'],
  new: ['198.51.100.20', '198.51.100.21', '2001:db8:b::20'],
}
const listener = (port: number, to = port, oldPort?: number, newPort?: number): Service['listen'][number] => ({
  protocol: 'tcp',
  ports: { from: port, to },
  oldPort,
  newPort,
  helper: undefined,
})
const service = (text: string, listen: Service['listen'], mapping?: [string, string][]): Service =>
  ({
    name: name(text),
    from: old,
    to: fresh,
    listen,
    addresses: mapping?.map(([before, after]) => ({ old: ip(before), new: ip(after) })),
  }) as unknown as Service

const fleetOf = (...services: Service[]): Fleet =>
  ({
    name: name('spring'),
    hosts: new Map(
      Object.entries(addresses).map(([host, list]) => [
        name(host),
        { addresses: list.map((text) => ({ public: ip(text) })) },
      ]),
    ),
    tunnel: { port: 51820, driver: 'auto', unreachable: 'hold' },
    services: new Map(services.map((each) => [each.name, each])),
  }) as unknown as Fleet

const end = (host: keyof typeof addresses): PairHost => ({
  name: name(host),
  publicAddresses: addresses[host].map(ip),
  allAddresses: addresses[host].map(ip),
  interfaceAddresses: addresses[host],
  userspace: false,
  identity: key,
  direct: undefined,
})
const input = (fleet: Fleet, states: States, locals: Locals = new Map()): SpecsInput => ({
  fleet,
  locals,
  states,
  generation: 4,
  pairs: [
    makePair({
      fleet,
      index: 1,
      driver: 'wireguard',
      mtu: 1420,
      hosts: [end('new'), end('old')],
      outer: { a: ip('198.51.100.20'), b: ip('203.0.113.10') },
    }),
  ],
})
const at = (stage: Stage, active: Name, ...services: string[]): States =>
  new Map(services.map((each) => [name(each), { stage, active }]))
const routesOn = (specs: Map<Name, HostSpec>, host: Name): string[] =>
  specs.get(host)!.services.flatMap((each) => each.routes.map(shown))
const shown = ({ address, ports, action }: ServiceRoute): string => {
  const range = ports.from === ports.to ? ports.from : `${ports.from}-${ports.to}`
  if (action.kind !== 'serve' && action.kind !== 'forward') return `${address} ${range} ${action.kind}`
  const port = action.port === 0 ? '' : ` at ${action.port}`
  return `${address} ${range} ${action.kind === 'serve' ? 'here' : `to ${action.to}`}${port}`
}

const web = service('web', [listener(443)])

describe('hostSpecs', () => {
  it.each([
    ['forwarding', old],
    ['moving', old],
    ['moving', fresh],
    ['moved', fresh],
  ] as const)('%s, active on %s: one host serves what the other forwards to it', (stage, active) => {
    const specs = hostSpecs(input(fleetOf(web), at(stage, active, 'web')))
    const passive = active === old ? fresh : old
    const [here, there] = [specs.get(active)!.services[0]!, specs.get(passive)!.services[0]!]
    expect({ ...here, routes: [] }).toEqual({ ...there, routes: [] })
    expect(here.routes).toHaveLength(3)
    expect(here.routes.every(({ action }) => action.kind === 'serve')).toBe(true)
    expect(there.routes.map(({ action }) => action.kind === 'forward' && action.to)).toEqual(
      here.routes.map(({ address }) => address),
    )
    for (const spec of specs.values()) expect(decodeHostSpec(encodeHostSpec(spec))).toEqual(spec)
  })

  it.each(['planned', 'finalized'] as const)(
    '%s: the tunnel and its probes stand, the service has no routes',
    (stage) => {
      const specs = hostSpecs(input(fleetOf(web), at(stage, old, 'web')))
      expect([...specs.values()].map(({ services }) => services)).toEqual([[], []])
      expect(specs.get(fresh)!.tunnels[0]!.probe.pairs).toEqual(
        [0, 1, 2].map((i) => ({ local: addresses.new[i], peer: addresses.old[i] })),
      )
      const mirrored = specs.get(old)!.tunnels[0]!.probe.pairs.map(({ local, peer }) => ({ local: peer, peer: local }))
      expect(mirrored).toEqual(specs.get(fresh)!.tunnels[0]!.probe.pairs)
    },
  )

  it('translates to the port where the process listens, and only where it is another', () => {
    const listen = [listener(443, 443, 8443, 9443), listener(80, 80, 80, undefined), listener(5000, 5010)]
    const fleet = fleetOf(service('web', listen, [['203.0.113.10', '198.51.100.20']]))
    const before = hostSpecs(input(fleet, at('forwarding', old, 'web')))
    expect(routesOn(before, fresh)).toEqual([
      '198.51.100.20 443 to 203.0.113.10 at 8443',
      '198.51.100.20 80 to 203.0.113.10',
      '198.51.100.20 5000-5010 to 203.0.113.10',
    ])
    expect(routesOn(before, old)[0]).toBe('203.0.113.10 443 here at 8443')
    const after = hostSpecs(input(fleet, at('moved', fresh, 'web')))
    expect(routesOn(after, fresh)[0]).toBe('198.51.100.20 443 here at 9443')
    expect(routesOn(after, old)[0]).toBe('203.0.113.10 443 to 198.51.100.20 at 9443')
  })

  it('speaks of addresses as the hosts themselves have them', () => {
    const locals: Locals = new Map([[fresh, [{ public: ip('198.51.100.20'), local: ip('10.0.0.5') }]]])
    const fleet = fleetOf(service('web', [listener(443)], [['203.0.113.10', '198.51.100.20']]))
    const specs = hostSpecs(input(fleet, at('moved', fresh, 'web'), locals))
    expect(routesOn(specs, fresh)).toEqual(['10.0.0.5 443 here'])
    expect(routesOn(specs, old)).toEqual(['203.0.113.10 443 to 10.0.0.5'])
    expect(specs.get(old)!.tunnels[0]!.probe.pairs).toEqual([{ local: '203.0.113.10', peer: '10.0.0.5' }])
  })

  it('follows a mapping that crosses over, and keeps services on one port apart by address', () => {
    const fleet = fleetOf(
      service('web', [listener(443)], [['203.0.113.10', '198.51.100.21']]),
      service('blog', [listener(443)], [['203.0.113.11', '198.51.100.20']]),
    )
    const specs = hostSpecs(input(fleet, new Map([...at('forwarding', old, 'web'), ...at('moved', fresh, 'blog')])))
    expect(routesOn(specs, fresh)).toEqual(['198.51.100.21 443 to 203.0.113.10', '198.51.100.20 443 here'])
    expect(routesOn(specs, old)).toEqual(['203.0.113.10 443 here', '203.0.113.11 443 to 198.51.100.20'])
  })

  it('lets the old host answer with a redirect once the service has moved, and be ready for it before', () => {
    const redirect = { to: 'https://www.example.org', ports: [80] }
    const listen = [listener(80), listener(443)]
    const shop = { ...service('shop', listen, [['203.0.113.10', '198.51.100.20']]), redirect }
    const fleet = fleetOf({ ...shop, name: name('first') }, shop)
    const on = (host: Name, stage: Stage, active: Name) =>
      hostSpecs(input(fleet, at(stage, active, 'shop'))).get(host)!.services[0]!
    const answers = { port: 53821, to: 'https://www.example.org' }
    expect(on(old, 'forwarding', old).redirect).toBeUndefined()
    expect(on(old, 'moving', old)).toMatchObject({
      redirect: answers,
      routes: [{ action: { kind: 'serve' } }, { action: { kind: 'serve' } }],
    })
    for (const stage of ['moving', 'moved'] as const)
      expect(on(old, stage, fresh)).toMatchObject({
        redirect: answers,
        routes: [{ action: { kind: 'redirect' } }, { action: { kind: 'forward' } }],
      })
    expect(on(fresh, 'moved', fresh).redirect).toBeUndefined()
    for (const spec of hostSpecs(input(fleet, at('moved', fresh, 'shop'))).values())
      expect(decodeHostSpec(encodeHostSpec(spec))).toEqual(spec)
  })

  it('has no spec for a host without a tunnel', () => {
    expect(hostSpecs({ ...input(fleetOf(web), new Map()), pairs: [] }).size).toBe(0)
  })
})

describe('statesOf', () => {
  const fleet = fleetOf(web, service('mail', [listener(25)]))
  const specs = (stage: Stage, active: Name, generation: number) =>
    hostSpecs({ ...input(fleet, at(stage, active, 'web')), generation })

  it('gives back what hostSpecs was told', () => {
    const states = statesOf(fleet, specs('moving', fresh, 4))
    expect(states.get(name('web'))).toEqual({ stage: 'moving', active: fresh })
    expect(states.get(name('mail'))).toEqual({ stage: 'planned', active: old })
  })

  it.each([
    [old, fresh],
    [fresh, old],
  ])('believes the younger of two that differ, on %s', (younger, older) => {
    const mixed = new Map([
      [older, specs('forwarding', old, 4).get(older)!],
      [younger, specs('moved', fresh, 5).get(younger)!],
    ])
    expect(statesOf(fleet, mixed).get(name('web'))).toEqual({ stage: 'moved', active: fresh })
    expect(isHalfDone(web, mixed)).toBe(true)
  })

  it('is half done only where both hosts know it, and differ in more than their generation', () => {
    const older = specs('moved', fresh, 4)
    const younger = specs('moved', fresh, 5)
    expect(isHalfDone(web, new Map([[old, older.get(old)!]]))).toBe(false)
    expect(isHalfDone(web, new Map([...older, [fresh, younger.get(fresh)!]]))).toBe(false)
  })

  it('is planned where no host knows it', () => {
    expect(statesOf(fleet, new Map()).get(name('web'))).toEqual({ stage: 'planned', active: old })
  })
})
