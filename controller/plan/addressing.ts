/** Which address stands for which: old for new between two hosts, local for public on one. */
import { type Family, familyOf, type Ip } from '../../proto/model/address.js'
import type { Host, HostAddress, Service } from '../config/fleet.js'

export interface PairedAddresses {
  readonly old: HostAddress
  readonly new: HostAddress
  readonly family: Family
}

/**
 * The pairs of addresses by which a service is reached before and after its move. The service's own
 * mapping wins and is all there is; without one, the hosts' addresses of a family are paired in order,
 * and what is left over on the longer side has no counterpart. Mapped addresses that the hosts don't
 * have are passed over: load-fleet refuses them.
 */
export function addressPairs(
  service: Pick<Service, 'addresses'>,
  oldHost: Pick<Host, 'addresses'>,
  newHost: Pick<Host, 'addresses'>,
): PairedAddresses[] {
  if (service.addresses !== undefined) {
    return service.addresses.flatMap((mapping) => {
      const before = oldHost.addresses.find((address) => address.public === mapping.old)
      const after = newHost.addresses.find((address) => address.public === mapping.new)
      return before && after ? [{ old: before, new: after, family: familyOf(mapping.old) }] : []
    })
  }
  return ([4, 6] as const).flatMap((family) => {
    const ofFamily = (host: Pick<Host, 'addresses'>) => host.addresses.filter((a) => familyOf(a.public) === family)
    const news = ofFamily(newHost)
    return ofFamily(oldHost).flatMap((before, i) => {
      const after = news[i]
      return after === undefined ? [] : [{ old: before, new: after, family }]
    })
  })
}

export interface InterfaceAddress {
  readonly device: string
  readonly ip: Ip
}

/** A host's address with nothing left to be found out. */
export interface ResolvedAddress {
  readonly public: Ip
  readonly local: Ip
}

/** One address whose place on the host isn't known: a sentence, and what to write in fleet.yaml. */
export interface UnresolvedAddress {
  readonly public: Ip
  readonly message: string
  readonly hint: string
}

/**
 * Finds the address that the host itself has for each of its public ones. What fleet.yaml says is only
 * checked; an address on an interface is its own; any other stands for the one private address (RFC 1918,
 * RFC 6598, RFC 4193) of its family on the device of that family's default route, if there is exactly one
 * that isn't taken and exactly one address that looks for it: a guess between two would send clients astray.
 */
export function resolveLocals(
  addresses: readonly HostAddress[],
  interfaces: readonly InterfaceAddress[],
  defaultDevices: Readonly<Record<Family, string | undefined>>,
): { ok: true; addresses: ResolvedAddress[] } | { ok: false; problems: UnresolvedAddress[] } {
  const present = new Set(interfaces.map(({ ip }) => ip))
  const known = addresses.map((address) => address.local ?? (present.has(address.public) ? address.public : undefined))
  const candidates = (family: Family) => [
    ...new Set(
      interfaces
        .filter(({ device, ip }) => device === defaultDevices[family] && familyOf(ip) === family && isPrivate(ip))
        .map(({ ip }) => ip)
        .filter((ip) => !known.includes(ip)),
    ),
  ]
  const seeking = (family: Family) =>
    addresses.filter((address, i) => known[i] === undefined && familyOf(address.public) === family)

  const resolved: ResolvedAddress[] = []
  const problems: UnresolvedAddress[] = []
  addresses.forEach((address, i) => {
    const family = familyOf(address.public)
    const local = known[i]
    if (local !== undefined && present.has(local)) resolved.push({ public: address.public, local })
    else if (local !== undefined) problems.push(absent(address.public, local))
    else {
      const found = candidates(family)
      if (found.length === 1 && seeking(family).length === 1) {
        resolved.push({ public: address.public, local: found[0]! })
      } else problems.push(unclear(address.public, family, defaultDevices[family], found))
    }
  })
  return problems.length === 0 ? { ok: true, addresses: resolved } : { ok: false, problems }
}

function absent(address: Ip, local: Ip): UnresolvedAddress {
  return {
    public: address,
    message: `${local}, the local address of ${address}, is on no interface of the host`,
    hint: 'correct local: in fleet.yaml, or leave it away to have it found out',
  }
}

function unclear(address: Ip, family: Family, device: string | undefined, found: Ip[]): UnresolvedAddress {
  const where = `${address} is on no interface of the host`
  const example = found[0] ?? (family === 4 ? '10.0.0.5' : 'fd00::5')
  const hint = `write { public: ${quoted(address)}, local: ${quoted(example)} } with the address that the host has for it in fleet.yaml`
  if (device === undefined)
    return { public: address, message: `${where}, and there is no IPv${family} default route`, hint }
  const message =
    found.length === 0
      ? `${where}, and no private IPv${family} address on ${device} is free to stand for it`
      : `${where}, and which private address on ${device} stands for it is not clear: ${found.join(', ')}`
  return { public: address, message, hint }
}

/** In a flow mapping YAML takes an IPv6 address that ends in a colon for a key. */
const quoted = (ip: string): string => (ip.includes(':') ? `"${ip}"` : ip)

/** RFC 1918, RFC 6598 and RFC 4193. */
export function isPrivate(ip: Ip): boolean {
  // Canonical text drops leading zeros, so a first group of four digits is the whole first 16 bits.
  if (familyOf(ip) === 6) return /^f[cd][0-9a-f]{2}:/.test(ip)
  const [a, b] = ip.split('.').map(Number) as [number, number]
  return a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168) || (a === 100 && b >= 64 && b < 128)
}
