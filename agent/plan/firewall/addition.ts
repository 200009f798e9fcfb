/** The command that puts a rule of ours into its chain: what is run is what is told. Pure. */

import type { FirewallRule } from './allow.js'
import { commentOf, iptablesWords, nftRule } from './allow.js'

/** For iptables: other programs may hold its lock, which is waited for so many seconds. */
export const iptablesWait = ['-w', '5'] as const

/** Program and arguments. */
export function addition({ place, allow, before }: FirewallRule): [string, string[]] {
  if (place.by === 'iptables') {
    const where = before === 0 ? ['-A', place.chain] : ['-I', place.chain, `${before}`]
    return [place.command, [...iptablesWait, ...where, ...iptablesWords(allow)]]
  }
  const where = `rule ${place.family} ${place.table} ${place.chain}`
  const text = `${nftRule(allow)} comment "${commentOf(allow)}"`
  return ['nft', [before === 0 ? `add ${where} ${text}` : `insert ${where} handle ${before} ${text}`]]
}

/** As it would be typed. */
export function additionText(rule: FirewallRule): string {
  const [program, args] = addition(rule)
  return [program, ...args.map((word) => (/^[\w./:-]+$/.test(word) ? word : `'${word}'`))].join(' ')
}
