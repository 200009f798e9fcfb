/** The part of a host's facts that tells of others on its network stack: rules, marks, ports, firewalls. Pure. */
import type { DropFact, HostFacts, ListenerFact, RuleFact } from '../../proto/model/facts.js'

/** @param all the values of a key, in the order of the lines */
export const networkFacts = (all: (key: string) => string[]): Pick<HostFacts, 'inUse' | 'forwarding'> => ({
  inUse: {
    rules: [...all('rule4').flatMap((line) => ruleOf(4, line)), ...all('rule6').flatMap((line) => ruleOf(6, line))],
    routes: all('table').map((line) => line.trim()),
    listeners: all('listener').flatMap(listenerOf),
    // nft lists the rules of iptables too, in other words.
    marks: oneOfEach([...all('iptables'), ...all('ip6tables'), ...all('nft.rule')].flatMap(markOf)),
    nftTables: all('nft.table').map((line) => line.replace(/^table /, '').trim()),
  },
  forwarding: {
    drops: [
      ...iptablesDrops('iptables', all('iptables')),
      ...iptablesDrops('ip6tables', all('ip6tables')),
      ...nftDrops(all('nft.chain')),
    ],
    dockerUser: (['iptables', 'ip6tables'] as const).filter((by) =>
      all(by).some((line) => line.startsWith(':DOCKER-USER ')),
    ),
    allowed: [
      ...(['iptables', 'ip6tables'] as const).filter((by) =>
        all(by).some((line) => /^-A .*--comment "?fleetmove"?( |$)/.test(line)),
      ),
      ...(all('nft.rule').some((line) => line.includes('comment "fleetmove"')) ? (['nft'] as const) : []),
    ],
  },
})

const oneOfEach = <T extends { value: number }>(marks: readonly T[]): T[] => [
  ...new Map([...marks].reverse().map((mark) => [mark.value, mark])).values(),
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

/** `-j MARK --set-xmark VALUE/MASK`, `meta mark & MASK == VALUE`, `meta mark set mark and MASK xor VALUE`… */
const markOf = (line: string): { value: number; text: string }[] => {
  const behind = /mark\b(.*)/.exec(line)?.[1]?.replaceAll(/(?:\band\b|&) 0x[0-9a-f]+/g, '')
  const value = Number(/0x[0-9a-f]+/.exec(behind ?? '')?.[0] ?? 0)
  return value === 0 ? [] : [{ value, text: line.trim() }]
}

/** `*filter`, then `:FORWARD DROP [0:0]`. */
const iptablesDrops = (by: 'iptables' | 'ip6tables', lines: readonly string[]): DropFact[] => {
  const filter = lines.slice(lines.indexOf('*filter') + 1)
  const end = filter.findIndex((line) => line.startsWith('*'))
  const drops = filter.slice(0, end === -1 ? undefined : end).some((line) => line.startsWith(':FORWARD DROP'))
  return drops && lines.includes('*filter') ? [{ by, table: '', chain: 'FORWARD' }] : []
}

/** `table inet NAME {`, `chain NAME {`, `type filter hook forward priority filter; policy drop;`. */
const nftDrops = (lines: readonly string[]): DropFact[] => {
  const drops: DropFact[] = []
  let table = ''
  let chain = ''
  for (const line of lines) {
    table = /^table (\S+ \S+)/.exec(line)?.[1] ?? table
    chain = /^\s+chain (\S+)/.exec(line)?.[1] ?? chain
    if (!/type filter hook forward .*policy drop;/.test(line)) continue
    // These are iptables' own, by its nft variant.
    if (/^ip6? filter$/.test(table) && chain === 'FORWARD') continue
    if (/^(ip|ip6|inet) /.test(table)) drops.push({ by: 'nft', table, chain })
  }
  return drops
}
