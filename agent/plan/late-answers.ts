/** What the ruleset does with answers to UDP flows that have been forgotten at a switch. Pure; nft(8), "NOTRACK". */
import type { Family } from '../../proto/model/address.js'
import { lateCounter, table } from './own.js'

/**
 * UDP flows that have just been forgotten (flows/purge-udp.ts), as their answers come: from, port, to, port.
 * Filled for seconds at a time; the kernel empties them.
 */
export const lateAnswerSets = (family: Family): string[] => {
  const key = `ipv${family}_addr . inet_service . ipv${family}_addr . inet_service`
  return [
    `add set inet ${table} late${family} { type ${key}; flags timeout; }`,
    `add map inet ${table} late-address${family} { type ${key} : ipv${family}_addr; flags timeout; }`,
    `add map inet ${table} late-port${family} { type ${key} : inet_service; flags timeout; }`,
  ]
}
const lateAnswer = (family: Family): string => {
  const ip = family === 4 ? 'ip' : 'ip6'
  return `${ip} saddr . udp sport . ${ip} daddr . udp dport`
}
/** Rule matches, one a family. */
export const isLate = ([4, 6] as const).map((family) => `${lateAnswer(family)} @late${family}`)
/**
 * An answer that was under way when its flow was forgotten would begin the flow anew, the wrong way round:
 * what the client sends next would be its reply, and stay where it was.
 */
export const untrackLate = isLate.map((match) => `${match} counter name "${lateCounter}" notrack accept`)
/** What its connection would have done to it. The address first: it is part of the port's key. */
export const readdressLate = ([4, 6] as const).flatMap((family) => [
  `ct state untracked ${family === 4 ? 'ip' : 'ip6'} saddr set ${lateAnswer(family)} map @late-address${family}`,
  `ct state untracked udp sport set ${lateAnswer(family)} map @late-port${family}`,
])
