/**
 * Listeners whose opening packets are dropped, whatever stands for them in the dispatch. They are elements and no
 * rules, so that a service is paused and let go by one message to the kernel while clients wait. Pure.
 */
import { familyOf } from '../../proto/model/address.js'
import type { ServiceSpec } from '../../proto/model/host-spec.js'
import { type Element, type ElementChange, elementsText } from './elements.js'
import { localhost } from './local-clients.js'
import { table } from './own.js'

/** By the set: keys in order. */
export type PausedKeys = Readonly<Record<PausedSet, readonly string[]>>
export type PausedSet = (typeof pausedSets)[number]
export const pausedSets = ['paused4', 'paused6', 'paused-localhost'] as const

export const declarePaused = [
  `add set inet ${table} paused4 { type ipv4_addr . inet_proto . inet_service; }`,
  `add set inet ${table} paused6 { type ipv6_addr . inet_proto . inet_service; }`,
  `add set inet ${table} paused-localhost { type inet_proto . inet_service; }`,
]

/** Ahead of the dispatch. */
export const dropPaused = [
  'meta l4proto { tcp, udp } ip daddr . meta l4proto . th dport @paused4 drop',
  'meta l4proto { tcp, udp } ip6 daddr . meta l4proto . th dport @paused6 drop',
]
export const dropPausedLocalhost = `ip saddr ${localhost} ip daddr ${localhost} meta l4proto { tcp, udp } meta l4proto . th dport @paused-localhost drop`

export function pausedKeys(services: readonly ServiceSpec[]): PausedKeys {
  const keys: Record<PausedSet, Set<string>> = {
    paused4: new Set(),
    paused6: new Set(),
    'paused-localhost': new Set(),
  }
  for (const service of services) {
    for (const { action, address, protocol, ports } of service.routes) {
      if (action.kind !== 'pause') continue
      for (let port = ports.from; port <= ports.to; port++) {
        keys[`paused${familyOf(address)}`].add(`${address} . ${protocol} . ${port}`)
        if (service.localhost && familyOf(address) === 4) keys['paused-localhost'].add(`${protocol} . ${port}`)
      }
    }
  }
  const sorted = (set: PausedSet): string[] => [...keys[set]].sort()
  return { paused4: sorted('paused4'), paused6: sorted('paused6'), 'paused-localhost': sorted('paused-localhost') }
}

/** Replaces whatever stands in the sets: commands for nft. */
export const pausedText = (keys: PausedKeys): string =>
  [
    ...pausedSets.map((set) => `flush set inet ${table} ${set}\n`),
    elementsText({ add: pausedSets.flatMap((set) => keys[set].map((key) => element(set, key))), remove: [] }),
  ].join('')

/** @returns null where there is no difference */
export function pausedChange(present: PausedKeys, wanted: PausedKeys): ElementChange | null {
  const missing = (from: PausedKeys, to: PausedKeys): Element[] =>
    pausedSets.flatMap((set) => {
      const there = new Set(from[set])
      return to[set].filter((key) => !there.has(key)).map((key) => element(set, key))
    })
  const change = { add: missing(present, wanted), remove: missing(wanted, present) }
  return change.add.length + change.remove.length === 0 ? null : change
}

const element = (set: PausedSet, key: string): Element => ({ table, set, key })
