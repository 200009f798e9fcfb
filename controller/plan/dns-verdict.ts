/** What answers of name servers mean for a move. */
import { type Family, familyOf, type Ip } from '../../proto/model/address.js'

/** old and new: only such addresses of ours; mixed: some of both; other: none of ours; none: no such record. */
export type Side = 'old' | 'new' | 'mixed' | 'other' | 'none' | 'failed'

/** One address of a service: before and after the move, public ones. */
export interface AddressChange {
  readonly old: Ip
  readonly new: Ip
}

export function sideOf(addresses: readonly Ip[], changes: readonly AddressChange[]): Side {
  if (addresses.length === 0) return 'none'
  const old = addresses.some((address) => changes.some((change) => change.old === address))
  const fresh = addresses.some((address) => changes.some((change) => change.new === address))
  if (old && fresh) return 'mixed'
  return old ? 'old' : fresh ? 'new' : 'other'
}

/** What the servers of a zone say together: failed ones count only where all have failed. */
export function togetherOf(sides: readonly Side[]): Side {
  const heard = sides.filter((side) => side !== 'failed')
  const [first] = heard
  if (first === undefined) return 'failed'
  return heard.every((side) => side === first) ? first : 'mixed'
}

/** The addresses with each old one replaced by its new one, or the other way; sorted, each once. */
export function replaced(addresses: readonly Ip[], changes: readonly AddressChange[], to: 'old' | 'new'): Ip[] {
  const from = to === 'new' ? 'old' : 'new'
  const target = (address: Ip): Ip => changes.find((change) => change[from] === address)?.[to] ?? address
  return [...new Set(addresses.map(target))].sort()
}

export const recordType = (family: Family): 'A' | 'AAAA' => (family === 4 ? 'A' : 'AAAA')
export const familiesOf = (changes: readonly AddressChange[]): Family[] =>
  [...new Set(changes.map((change) => familyOf(change.old)))].sort()

/** One look at the servers of a zone, as the journal keeps it. */
export interface Look {
  readonly atMs: number
  readonly side: Side
  /** Of the zone's own answer; 0 where there is none. */
  readonly ttlSeconds: number
}

/** The first look that saw the new address, after the last that saw the old one; null as in `cachesGoneAtMs`. */
export function changedAtMs(looks: readonly Look[]): number | null {
  const lastOld = looks.findLastIndex(({ side }) => side === 'old' || side === 'mixed')
  if (lastOld < 0 || looks.at(-1)?.side !== 'new') return null
  return looks.slice(lastOld + 1).find(({ side }) => side === 'new')!.atMs
}

/**
 * When the last cached answer that obeys its time to live is gone. Somebody may have asked right before
 * the change, which was somewhere between the last look that saw the old address and the first that didn't.
 * @param looks of one record, oldest first
 * @returns null while the zone itself gives the old address, or when no look saw it
 */
export function cachesGoneAtMs(looks: readonly Look[]): number | null {
  const changedBy = changedAtMs(looks)
  if (changedBy === null) return null
  // A lower time to live was seen only by those who asked after it was lowered: each holds until the next look.
  const latest = looks.flatMap(({ atMs, side, ttlSeconds }, i) =>
    atMs > changedBy || side === 'new' ? [] : [looks[i + 1]!.atMs + ttlSeconds * 1000],
  )
  return Math.max(...latest)
}
