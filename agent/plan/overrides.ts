/**
 * Listeners that are treated otherwise than the dispatch says, for as long as their service is in a gap. They are
 * elements and no rules, and all rules that they can lead to stand beforehand, so that a service is paused, switched
 * and let go by one message to the kernel while clients wait. Pure.
 */
import { type Element, type ElementChange, elementsText } from './elements.js'
import { localhost } from './local-clients.js'
import { table } from './own.js'

export const overrideMaps = ['override4', 'override6', 'override-localhost'] as const
export type OverrideMap = (typeof overrideMaps)[number]
/** By the map: elements as nft writes them, `key : verdict`, in order. */
export type Overrides = Readonly<Record<OverrideMap, readonly string[]>>

export const noOverrides: Overrides = { override4: [], override6: [], 'override-localhost': [] }

export const declareOverrides = [
  `add map inet ${table} override4 { type ipv4_addr . inet_proto . inet_service : verdict; }`,
  `add map inet ${table} override6 { type ipv6_addr . inet_proto . inet_service : verdict; }`,
  `add map inet ${table} override-localhost { type inet_proto . inet_service : verdict; }`,
]

/** Ahead of the dispatch. */
export const overrideDispatch = [
  'meta l4proto { tcp, udp } ip daddr . meta l4proto . th dport vmap @override4',
  'meta l4proto { tcp, udp } ip6 daddr . meta l4proto . th dport vmap @override6',
]
export const overrideLocalhost = `ip saddr ${localhost} ip daddr ${localhost} meta l4proto { tcp, udp } meta l4proto . th dport vmap @override-localhost`

/** Replaces whatever stands in the maps: commands for nft. */
export const overridesText = (overrides: Overrides): string =>
  [
    ...overrideMaps.map((map) => `flush map inet ${table} ${map}\n`),
    elementsText({
      remove: [],
      add: overrideMaps.flatMap((map) => overrides[map].map((words) => element(map, words))),
    }),
  ].join('')

/** @returns null where there is no difference */
export function overridesChange(present: Overrides, wanted: Overrides): ElementChange | null {
  const missing = (from: Overrides, to: Overrides): Element[] =>
    overrideMaps.flatMap((map) => {
      const there = new Set(from[map])
      return to[map].filter((words) => !there.has(words)).map((words) => element(map, words))
    })
  const remove = missing(wanted, present).map(({ verdict: _, ...rest }) => rest)
  const add = missing(present, wanted)
  return add.length + remove.length === 0 ? null : { remove, add }
}

function element(set: OverrideMap, words: string): Element {
  const [key, verdict] = words.split(' : ') as [string, string]
  return { table, set, key, verdict }
}
