/** The record of who still comes by this host's addresses; flows/arrivals.ts reads it. Pure. */
import type { Family } from '../../proto/model/address.js'
import { table } from './own.js'

/** Who opened connections that were forwarded: bounded, so that a flood can't fill memory. */
export const arrivalSet = (family: Family): string =>
  `add set inet ${table} arrivals${family} { type ipv${family}_addr . ipv${family}_addr . inet_proto . inet_service; flags dynamic,timeout; size 65536; timeout 7d; }`

/** A rule of its own: when the set is full it fails, and the rules after it go on. */
export const recordArrival = (family: Family): string => {
  const ip = family === 4 ? 'ip' : 'ip6'
  return `update @arrivals${family} { ${ip} saddr . ${ip} daddr . meta l4proto . th dport counter }`
}
