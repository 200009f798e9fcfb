/** The part of a host's facts that tells of others on its network stack: rules, marks, ports, firewalls. Pure. */
import type { HostFacts, ListenerFact, RuleFact } from '../../proto/model/facts.js'
import { markBits } from './mark-bits.js'

/** @param all the values of a key, in the order of the lines */
export const networkFacts = (
  all: (key: string) => string[],
): Pick<HostFacts, 'inUse' | 'policyDrops' | 'ownedTables'> => ({
  inUse: {
    rules: [...all('rule4').flatMap((line) => ruleOf(4, line)), ...all('rule6').flatMap((line) => ruleOf(6, line))],
    routes: all('table').map((line) => line.trim()),
    listeners: all('listener').flatMap(listenerOf),
    // nft lists the rules of iptables too, in other words.
    marks: oneOfEach([...all('iptables'), ...all('ip6tables'), ...all('nft.rule')].flatMap(markOf)),
    nftTables: all('nft.table').map((line) => line.replace(/^table /, '').trim()),
  },
  policyDrops: [
    ...all('firewall.iptables').flatMap((line) => {
      const [, command, chain] = /^(\S+) :(INPUT|FORWARD) DROP/.exec(line) ?? []
      return command === undefined ? [] : [`${command.replace(/-(nft|legacy)$/, '')} ${chain}`]
    }),
    ...nftDrops(all('nft.chain')),
  ],
  ownedTables: ownedTables(all('nft.chain')),
})

const oneOfEach = <T extends { bits: number }>(marks: readonly T[]): T[] => [
  ...new Map([...marks].reverse().map((mark) => [mark.bits, mark])).values(),
]

/** `5180:	from all fwmark 0x2000000/0xfe000000 lookup 5181 proto 146` */
const ruleOf = (family: 4 | 6, line: string): RuleFact[] => {
  const match = /^(\d+):\s+(.*)$/.exec(line)
  if (match === null) return []
  const text = match[2]!.trim()
  return [
    {
      family,
      priority: Number(match[1]),
      mark: Number(/ fwmark (0x[0-9a-f]+)/.exec(` ${text}`)?.[1] ?? 0),
      table: / lookup (\S+)/.exec(text)?.[1] ?? '',
      protocol: / proto (\S+)/.exec(text)?.[1] ?? '',
      text,
    },
  ]
}

/** ss(8): `udp UNCONN 0 0 0.0.0.0:51820 0.0.0.0:* users:(("openvpn",pid=7,fd=3))` */
const listenerOf = (line: string): ListenerFact[] => {
  const match = /^(tcp|udp)\s.*?:(\d+)\s+\S+:\*(?:\s+users:\(\("([^"]*)")?/.exec(line)
  if (match === null) return []
  return [{ protocol: match[1] as 'tcp' | 'udp', port: Number(match[2]), process: match[3] ?? '' }]
}

const markOf = (line: string): { bits: number; text: string }[] => {
  const bits = markBits(line)
  return bits === 0 ? [] : [{ bits, text: line.trim() }]
}

/** `table inet NAME {`, `chain NAME {`, `type filter hook forward priority filter; policy drop;`. */
const nftDrops = (lines: readonly string[]): string[] => {
  const drops: string[] = []
  let table = ''
  let chain = ''
  for (const line of lines) {
    table = /^table (\S+ \S+)/.exec(line)?.[1] ?? table
    chain = /^\s+chain (\S+)/.exec(line)?.[1] ?? chain
    if (!/type filter hook (input|forward) .*policy drop;/.test(line)) continue
    // These are iptables' own, by its nft variant.
    if (/^ip6? filter$/.test(table) && /^[A-Z]+$/.test(chain)) continue
    if (/^(ip|ip6|inet) /.test(table)) drops.push(`nftables ${table} ${chain}`)
  }
  return drops
}

/**
 * Tables that only the program that made them can change (nft(8), "TABLES", owner), with chains that filter
 * what comes in or is forwarded: `table inet NAME {`, `flags owner`, `type filter hook forward …`.
 */
const ownedTables = (lines: readonly string[]): string[] => {
  const owned = new Set<string>()
  const filtering = new Set<string>()
  let table = ''
  for (const line of lines) {
    table = /^table (\S+ \S+)/.exec(line)?.[1] ?? table
    if (/^\s+flags .*\bowner\b/.test(line)) owned.add(table)
    if (/type filter hook (input|forward) /.test(line)) filtering.add(table)
  }
  return [...owned].filter((each) => filtering.has(each))
}
