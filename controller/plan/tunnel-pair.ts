/** The two ends of one tunnel: which numbers, addresses and names they agree on. Pure. */
import { type Family, familyOf, type Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import type { HostSpec, TunnelDriver, TunnelSpec } from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'
import type { Fleet } from '../config/fleet.js'

/** A tunnel without its probe pairs, which follow from the services (host-specs.ts). */
export type TunnelEnd = Omit<TunnelSpec, 'probe'> & { probe: { port: number } }

export interface TunnelPair {
  /** Sorted: `a` is the TLS server. */
  a: Name
  b: Name
  ends: Record<Name, TunnelEnd>
}

/** Which hosts need a tunnel between them: those between which a service moves. Sorted, each once. */
export function neededPairs(fleet: Fleet): { a: Name; b: Name }[] {
  const keys = new Map<string, { a: Name; b: Name }>()
  for (const service of fleet.services.values()) {
    const [a, b] = [service.from, service.to].sort() as [Name, Name]
    keys.set(pairKey(a, b), { a, b })
  }
  return [...keys.values()].sort((x, y) => (pairKey(x.a, x.b) < pairKey(y.a, y.b) ? -1 : 1))
}

export const pairKey = (x: Name, y: Name): string => [x, y].sort().join(' ')

/** Pairs that stand already on both hosts, as their confirmed specs tell. */
export function standingPairs(specs: ReadonlyMap<Name, HostSpec>): TunnelPair[] {
  const pairs: TunnelPair[] = []
  for (const spec of specs.values()) {
    for (const tunnel of spec.tunnels) {
      if (spec.host > tunnel.peer) continue
      const other = specs.get(tunnel.peer)?.tunnels.find((end) => end.peer === spec.host && end.index === tunnel.index)
      if (other) pairs.push({ a: spec.host, b: tunnel.peer, ends: { [spec.host]: tunnel, [tunnel.peer]: other } })
    }
  }
  return pairs
}

/** The smallest index that neither host uses: it names mark, table, zone and device on both. */
export function freeIndex(a: Name, b: Name, pairs: readonly { a: Name; b: Name; index: number }[]): number {
  const touching = pairs.filter((pair) => [pair.a, pair.b].some((host) => host === a || host === b))
  const taken = new Set(touching.map((pair) => pair.index))
  let index = 1
  while (taken.has(index)) index++
  // The byte of the mark holds no more (proto/model/host-spec.ts).
  if (index <= 63) return index
  throw new FleetmoveError('preflight', {
    message: `${a} and ${b} have no tunnel number in common: 63 are taken on the two of them`,
    hint: 'finish moves on one of these hosts first (`fleetmove finalize`), or move through another host',
  })
}

export interface PairHost {
  name: Name
  /** As others reach it; the first of a family is the tunnel's outer end. */
  publicAddresses: readonly Ip[]
  /** Public and local ones. */
  allAddresses: readonly Ip[]
  /** Addresses on its interfaces, so that the tunnel's own don't collide. */
  interfaceAddresses: readonly string[]
  userspace: boolean
  identity: string
  /** Driver direct only. */
  direct: { device: string; address4: Ip; address6: Ip } | undefined
}

/** Outer addresses of one family: IPv4 where both have it, since it costs 20 bytes less a packet. */
export function outerAddresses(
  a: Pick<PairHost, 'publicAddresses'>,
  b: Pick<PairHost, 'publicAddresses'>,
): { family: Family; a: Ip; b: Ip } | undefined {
  for (const family of [4, 6] as const) {
    const first = (host: Pick<PairHost, 'publicAddresses'>): Ip | undefined =>
      host.publicAddresses.find((ip) => familyOf(ip) === family)
    const [ofA, ofB] = [first(a), first(b)]
    if (ofA && ofB) return { family, a: ofA, b: ofB }
  }
  return undefined
}

/** UDP port of a tunnel: hosts with several tunnels, up to 63, need one for each. */
export const tunnelPort = (base: number, index: number): number =>
  base + 62 <= 65535 ? base + index - 1 : base - index + 1

/** Two ports for probes, well away from those of the tunnels. */
export const probePort = (base: number, index: number): number =>
  (base < 60_000 ? base + 1000 : base - 1000) + 2 * (index - 1)

export function makePair(input: {
  fleet: Fleet
  index: number
  driver: TunnelDriver
  mtu: number
  hosts: readonly [PairHost, PairHost]
  outer: { a: Ip; b: Ip }
}): TunnelPair {
  const [a, b] = input.hosts
  const net = tunnelAddresses(input.fleet.name, input.index, [...a.interfaceAddresses, ...b.interfaceAddresses])
  const end = (own: PairHost, peer: PairHost, side: 0 | 1): TunnelEnd => ({
    index: input.index,
    peer: peer.name,
    driver: input.driver,
    userspace: own.userspace,
    role: side === 0 ? 'server' : 'client',
    port: tunnelPort(input.fleet.tunnel.port, input.index),
    remote: side === 0 ? input.outer.b : input.outer.a,
    mtu: input.mtu,
    local4: own.direct?.address4 ?? net.ipv4[side],
    peer4: peer.direct?.address4 ?? net.ipv4[1 - side]!,
    local6: own.direct?.address6 ?? net.ipv6[side],
    peer6: peer.direct?.address6 ?? net.ipv6[1 - side]!,
    peerIdentity: peer.identity,
    device: own.direct?.device ?? '',
    peerAddresses: [...new Set(peer.allAddresses)].sort(),
    probe: { port: probePort(input.fleet.tunnel.port, input.index) },
    ...unreachableOf(input.fleet),
  })
  return { a: a.name, b: b.name, ends: { [a.name]: end(a, b, 0), [b.name]: end(b, a, 1) } }
}

/**
 * A pair that stands, by what fleet.yaml says now: a host may have got another address since, and what new
 * clients get while the tunnel is down may have been changed. Numbers, keys and sizes stay.
 */
export function refreshed(
  pair: TunnelPair,
  fleet: Fleet,
  addressesOf: (host: Name) => readonly { public: Ip; local: Ip }[],
): TunnelPair {
  const end = (host: Name): TunnelEnd => {
    const { unreachable: _, ...known } = pair.ends[host]!
    const addresses = addressesOf(known.peer)
    const reachable = addresses.map((address) => address.public)
    const family = familyOf(known.remote)
    const remote = reachable.includes(known.remote)
      ? known.remote
      : (reachable.find((ip) => familyOf(ip) === family) ?? known.remote)
    const peerAddresses = [...new Set(addresses.flatMap((address) => [address.public, address.local]))].sort()
    return { ...known, remote, peerAddresses, ...unreachableOf(fleet) }
  }
  return { ...pair, ends: { [pair.a]: end(pair.a), [pair.b]: end(pair.b) } }
}

/** What isn't asked for is absent: equal specs are to be deeply equal. */
const unreachableOf = ({ tunnel }: Fleet): Pick<TunnelSpec, 'unreachable'> =>
  tunnel.unreachable === 'reset' ? { unreachable: 'reset' } : {}

/**
 * A /30 of IPv4 link-local (RFC 3927) and a /126 of a unique local prefix (RFC 4193), both derived
 * from the fleet's name, so that two fleets on one host rarely meet; moved on where they would.
 */
export function tunnelAddresses(
  fleet: string,
  index: number,
  present: readonly string[],
): { ipv4: [Ip, Ip]; ipv6: [Ip, Ip] } {
  const hash = hash40(fleet)
  const low = (index - 1) * 4
  let third = (hash % 250) + 1
  // 169.254.169.x holds the metadata services of clouds.
  while (third === 169 || present.some((ip) => ip.startsWith(`169.254.${third}.`))) third = (third % 253) + 1
  const ipv4 = (host: number): Ip => `169.254.${third}.${low + host}` as Ip
  const digits = hash.toString(16).padStart(10, '0')
  const group = (text: string): string => text.replace(/^0+(?=.)/, '')
  const prefix = `fd${digits.slice(0, 2)}:${group(digits.slice(2, 6))}:${group(digits.slice(6, 10))}:${index.toString(16)}`
  // With a zero group beside the run of zeros the canonical text would be another one.
  const ipv6 = (host: number): Ip => `${prefix}::${host}` as Ip
  return { ipv4: [ipv4(1), ipv4(2)], ipv6: [ipv6(1), ipv6(2)] }
}

/** 40 bits of a name, as a number; no group of its hex digits is zero. */
function hash40(text: string): number {
  let hash = 5381
  for (let i = 0; i < text.length; i++) hash = (hash * 33 + text.charCodeAt(i)) % 2 ** 40
  const digits = hash.toString(16).padStart(10, '0')
  return digits.slice(2, 6) === '0000' || digits.slice(6) === '0000' ? hash40(`${text}.`) : hash
}
