/**
 * Addresses that go from one host to the other as a whole (docs/decisions/2026-11-21-move-an-address.md). Pure.
 *
 * One of the two hosts has such an address on its uplink and answers for it; the other one may have it on `lo`
 * and keeps silent, for the connections that it still serves. What comes for one of those arrives at the host
 * that answers, which doesn't know it and hands it over by the same segment (asides.ts).
 */
import { familyOf, type Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import type { HostSpec } from '../../proto/model/host-spec.js'
import type { Observed } from '../kernel/observed.js'
import type { Step } from '../kernel/step.js'
import { type AsideTunnel, asideTables } from './asides.js'
import type { AddressSpec, MovedPieces } from './desired.js'

/** As difference.ts keeps it in the ledger. */
type Found = Readonly<Record<string, string>>

const quiet = 'lo'
const wholeLength = (ip: Ip): number => (familyOf(ip) === 4 ? 32 : 128)

/** @throws FleetmoveError 'conflict' where the host has lost its own address on the segment */
export function movedPieces(
  spec: Pick<HostSpec, 'addresses'>,
  observed: Pick<Observed, 'addresses'>,
  tunnels: readonly AsideTunnel[],
): MovedPieces {
  const asides = asideTables(spec.addresses ?? [], tunnels)
  const pieces: MovedPieces = { taken: [], silent: [], settled: [], asides }
  for (const moved of spec.addresses ?? []) {
    const whole = { ip: moved.address, prefix: wholeLength(moved.address) }
    if (moved.as === 'settled') pieces.settled.push(moved.address)
    const isFour = familyOf(moved.address) === 4
    if (moved.as === 'silent') pieces.silent.push({ device: quiet, ...whole, ...(isFour ? { silent: true } : {}) })
    if (moved.as !== 'taken') continue
    const home = observed.addresses.find(({ ip, device }) => ip === moved.own && device !== quiet)
    if (!home) {
      throw new FleetmoveError('conflict', {
        message: `${moved.own} is on no device any more, so there is no telling which one ${moved.address} belongs on`,
        hint: `give the host its address ${moved.own} back`,
      })
    }
    // As a whole length it brings no route of its own, and goes without taking others along.
    pieces.taken.push({ device: home.device, ...whole, ...(isFour ? {} : { idle: true }) })
  }
  return pieces
}

/** Under this name the ledger keeps how an address stood: as JSON, or '' where it wasn't there. */
export const foundKey = (ip: Ip): string => `address ${ip}`

/** Which of the ledger's entries must outlive this spec. */
export const keepsFound = (pieces: MovedPieces, key: string): boolean =>
  [...pieces.taken, ...pieces.silent].some(({ ip }) => foundKey(ip) === key) ||
  pieces.settled.some((ip) => foundKey(ip) === key)

/**
 * First what is added, then what is removed: connections need the address at all times. The rules of asides.ts
 * must stand before, and those that aren't wanted any more go after it.
 */
export function addressSteps(
  pieces: MovedPieces,
  observed: Pick<Observed, 'addresses'>,
  found: Found,
): { adding: Step[]; removing: Step[]; found: Found } {
  const kept: Record<string, string> = { ...found }
  const adding: Step[] = []
  const removing: Step[] = []
  const standing = (ip: Ip): AddressSpec[] => observed.addresses.filter((each) => each.ip === ip)
  const has = (address: AddressSpec): boolean => standing(address.ip).some((each) => same(each, address))
  const add = (address: AddressSpec, announced: boolean): void => {
    if (has(address)) return
    adding.push({ do: 'add-address', address })
    if (announced) adding.push({ do: 'announce-address', device: address.device, ip: address.ip })
  }
  const remove = (addresses: readonly AddressSpec[]): void => {
    removing.push(...addresses.map((address): Step => ({ do: 'delete-address', address })))
  }

  for (const address of pieces.taken) {
    if (!has(address)) kept[foundKey(address.ip)] ??= ''
    add(address, true)
    if (foundKey(address.ip) in kept) remove(standing(address.ip).filter(({ device }) => device === quiet))
  }
  for (const address of pieces.silent) {
    const others = standing(address.ip).filter(({ device }) => device !== quiet)
    if (others[0] && !(foundKey(address.ip) in kept)) kept[foundKey(address.ip)] = remembered(others[0], observed)
    add(address, false)
    remove(others)
  }
  for (const [key, value] of Object.entries(kept)) {
    const ip = key.startsWith('address ') ? (key.slice('address '.length) as Ip) : undefined
    if (ip === undefined || [...pieces.taken, ...pieces.silent].some((each) => each.ip === ip)) continue
    const original = value === '' ? undefined : (JSON.parse(value) as AddressSpec)
    const ours = standing(ip).filter((each) => each.prefix === wholeLength(ip) && !(original && same(each, original)))
    if (pieces.settled.includes(ip)) remove(ours.filter(({ device }) => device === quiet))
    else {
      if (original) add(original, true)
      remove(ours)
    }
  }
  return { adding, removing, found: kept }
}

/**
 * The kernel puts an IPv6 address that is added before all others of its device, and prefers it then for what the
 * host opens itself (ipv6_link_dev_addr, ipv6_dev_get_saddr): one that wasn't the first comes back as deprecated.
 * @throws FleetmoveError 'conflict' for one that isn't ours to give back
 */
function remembered(address: AddressSpec, { addresses }: Pick<Observed, 'addresses'>): string {
  if (address.dynamic) {
    throw new FleetmoveError('conflict', {
      message: `${address.ip} was given to ${address.device} for a time, by DHCP or router advertisements`,
      hint: 'let it be configured for good on this host, or leave address: move away',
    })
  }
  const first = addresses.find(
    ({ device, ip }) => device === address.device && familyOf(ip) === 6 && !ip.startsWith('fe80:'),
  )
  return JSON.stringify(familyOf(address.ip) === 6 && first?.ip !== address.ip ? { ...address, idle: true } : address)
}

const same = (a: AddressSpec, b: AddressSpec): boolean =>
  a.device === b.device && a.ip === b.ip && a.prefix === b.prefix
