/** Host specs for tests: named ones, and random ones as a controller could send them. */
import fc from 'fast-check'
import { familyOf, type Ip } from '../../../../proto/model/address.js'
import type {
  AddressPair,
  HostSpec,
  Protocol,
  ServiceRoute,
  ServiceSpec,
  TunnelDriver,
  TunnelSpec,
} from '../../../../proto/model/host-spec.js'
import type { Name } from '../../../../proto/model/names.js'

export const ip = (text: string): Ip => text as Ip
export const name = (text: string): Name => text as Name

export const old4 = ip('203.0.113.10')
export const new4 = ip('198.51.100.20')
export const old6 = ip('2001:db8:a::10')
export const new6 = ip('2001:db8:b::20')

export const wireguardKey = 'HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw='
export const certificate = Array.from({ length: 32 }, (_, i) => (i + 160).toString(16).toUpperCase()).join(':')

/** The new host's end of tunnel `index`. */
export function tunnel(index: number, change: Partial<TunnelSpec> = {}): TunnelSpec {
  const driver = change.driver ?? 'wireguard'
  const low = (index - 1) * 4
  return {
    index,
    peer: name(index === 1 ? 'old' : `old${index}`),
    driver,
    userspace: false,
    role: 'client',
    port: 51819 + index,
    remote: old4,
    mtu: 1420,
    local4: ip(`169.254.7.${low + 2}`),
    peer4: ip(`169.254.7.${low + 1}`),
    local6: ip(`fd12:3456:789a:${index.toString(16)}::2`),
    peer6: ip(`fd12:3456:789a:${index.toString(16)}::1`),
    peerIdentity: driver === 'openvpn' ? certificate : driver === 'direct' ? '' : wireguardKey,
    device: driver === 'direct' ? `eth${index}` : '',
    peerAddresses: [old4, old6],
    probe: { port: 52818 + 2 * index, pairs: [{ local: new4, peer: old4 }] },
    ...change,
  }
}

const range = (ports: number | [number, number]): ServiceRoute['ports'] =>
  typeof ports === 'number' ? { from: ports, to: ports } : { from: ports[0], to: ports[1] }

export const forward = (
  listener: [Protocol, number | [number, number]],
  pair: AddressPair,
  { port = 0, tunnel = 1 } = {},
): ServiceRoute => ({
  protocol: listener[0],
  address: pair.local,
  ports: range(listener[1]),
  action: { kind: 'forward', tunnel, to: pair.peer, port },
})

export const serve = (listener: [Protocol, number | [number, number]], address: Ip, port = 0): ServiceRoute => ({
  protocol: listener[0],
  address,
  ports: range(listener[1]),
  action: { kind: 'serve', port },
})

export const service = (
  text: string,
  routes: ServiceRoute[],
  change: Partial<Omit<ServiceSpec, 'name' | 'routes'>> = {},
): ServiceSpec => ({
  name: name(text),
  stage: 'forwarding',
  from: name('old'),
  to: name('new'),
  active: name('old'),
  canary: null,
  routes,
  ...change,
})

export const spec = (tunnels: TunnelSpec[], services: ServiceSpec[], generation = 1): HostSpec => ({
  fleet: name('spring'),
  host: name('new'),
  generation,
  tunnels,
  services,
})

const addresses = [new4, ip('198.51.100.21'), new6, ip('2001:db8:b::21')] as const
const peers = { 4: [old4, ip('203.0.113.11')], 6: [old6, ip('2001:db8:a::11')] } as const

const anyTunnel = (index: number): fc.Arbitrary<TunnelSpec> =>
  fc
    .record({
      driver: fc.constantFrom<TunnelDriver>('wireguard', 'wireguard-l2', 'openvpn', 'direct'),
      userspace: fc.boolean(),
      role: fc.constantFrom('server', 'client'),
      mtu: fc.constantFrom(1280, 1370, 1420),
      net: fc.constantFrom(7, 8),
      pairs: fc.subarray([...addresses]),
    })
    .map(({ driver, userspace, role, mtu, net, pairs }) =>
      tunnel(index, {
        driver,
        userspace: driver.startsWith('wireguard') && userspace,
        role,
        mtu,
        ...(net === 8 ? { local4: ip(`169.254.8.${4 * index - 2}`), peer4: ip(`169.254.8.${4 * index - 3}`) } : {}),
        probe: {
          port: 52818 + 2 * index,
          pairs: pairs.map((local) => ({ local, peer: peers[familyOf(local)][0] })),
        },
      }),
    )

const anyRoute = (tunnels: readonly number[], port: number): fc.Arbitrary<ServiceRoute> =>
  fc
    .record({
      protocol: fc.constantFrom<Protocol>('tcp', 'udp'),
      address: fc.constantFrom(...addresses),
      width: fc.constantFrom(0, 0, 3),
      other: fc.constantFrom(0, 0, 8443),
      to: fc.nat(1),
      by: fc.option(fc.constantFrom(...tunnels), { nil: undefined }),
    })
    .map(({ protocol, address, width, other, to, by }) => {
      const moved = width === 0 ? other : 0
      return {
        protocol,
        address,
        ports: { from: port, to: port + width },
        action:
          by === undefined
            ? { kind: 'serve' as const, port: moved }
            : { kind: 'forward' as const, tunnel: by, to: peers[familyOf(address)][to]!, port: moved },
      }
    })

/** Valid by proto/codec.ts; no two services of it share a listener. Without tunnels it is empty. */
export const anySpec: fc.Arbitrary<HostSpec> = fc.subarray([1, 2, 3]).chain((indices) =>
  indices.length === 0
    ? fc.constant(spec([], []))
    : fc
        .record({
          tunnels: fc.tuple(...indices.map(anyTunnel)),
          services: fc
            .subarray(['web', 'mail', 'dns', 'a-b'])
            .chain((names) =>
              fc.tuple(
                ...names.map((text, i) =>
                  fc
                    .tuple(anyRoute(indices, 100 * (i + 1)), anyRoute(indices, 100 * (i + 1) + 10))
                    .map((routes) => service(text, routes)),
                ),
              ),
            ),
          generation: fc.integer({ min: 1, max: 2 ** 40 }),
        })
        .map((parts) => spec(parts.tunnels, parts.services, parts.generation)),
)
