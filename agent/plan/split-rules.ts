/** Which clients of a canary go where. Pure; nft(8), "JHASH". */
import type { Family } from '../../proto/model/address.js'
import type { Canary } from '../../proto/model/host-spec.js'

/** The hash is of the client's address alone, so a client stays where it is put, by whichever address it comes. */
export function splitRules(family: Family, canary: Canary, onNew: string, onOld: string): string[] {
  const ip = family === 4 ? 'ip' : 'ip6'
  const named = canary.prefixes.filter((prefix) => prefix.includes(':') === (family === 6))
  return [
    // A rule each: nft refuses a set of prefixes that overlap.
    ...named.map((prefix) => `${ip} saddr ${prefix} goto ${onNew}`),
    ...(canary.perMille > 0
      ? [
          `jhash ${ip} saddr mod 1000 seed 0x${canary.seed.toString(16).padStart(8, '0')} < ${canary.perMille} goto ${onNew}`,
        ]
      : []),
    `goto ${onOld}`,
  ]
}
