import type { LabHost, LabSubnet, LabTopology } from './topology.js'

/** Lines for `ip -batch`: every host's device, made at both ends in place; `pids` maps names to pids. */
export function linkBatch(topology: LabTopology, pids: ReadonlyMap<string, number>): string {
  const router = pids.get(topology.router)
  return Object.keys(topology.hosts)
    .map((name) => `link add eth0 netns ${pids.get(name)} type veth peer name ${name} netns ${router}\n`)
    .join('')
}

/** The shell script that configures a host's network from inside it. */
export function hostNetworkScript(topology: LabTopology, name: string): string {
  const host = topology.hosts[name] as LabHost
  const net = topology.subnets[host.subnet] as LabSubnet
  const lines = ['link set lo up', 'link set eth0 up']
  for (const address of host.v4) lines.push(`addr add ${address}/${prefixLength(net.v4)} dev eth0`)
  // The kernel prefers the IPv6 address added last as source: the primary one must be that.
  for (const address of host.v6.toReversed()) lines.push(`addr add ${address}/${prefixLength(net.v6)} dev eth0 nodad`)
  lines.push(`route add default via ${net.gateway4}`, `route add default via ${net.gateway6}`)
  return `${sysctlScript(false)}${batch(lines)}`
}

/** The same for the router: a bridge a subnet, forwarding, translation, and the set of cut paths. */
export function routerNetworkScript(topology: LabTopology): string {
  const lines = ['link set lo up']
  for (const [name, net] of Object.entries(topology.subnets)) {
    lines.push(`link add ${name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`, `link set ${name} up`)
    lines.push(`addr add ${net.gateway4}/${prefixLength(net.v4)} dev ${name}`)
    lines.push(`addr add ${net.gateway6}/${prefixLength(net.v6)} dev ${name} nodad`)
  }
  for (const [name, host] of Object.entries(topology.hosts)) lines.push(`link set ${name} master ${host.subnet} up`)
  // Neighbours of a translated address ask for it on their own link: the router must answer.
  for (const nat of topology.nat) lines.push(`addr add ${nat.public}/32 dev ${nat.subnet}`)
  return `${sysctlScript(true)}${batch(lines)}nft -f - <<'END'
${routerRuleset(topology)}END
# Packets outside of the window that conntrack expects would leave untranslated.
echo 1 >/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal
`
}

/**
 * The router's nft ruleset. Only what is translated is tracked: the rest is plain forwarding. Local
 * addresses behind the translation can't be reached from outside.
 */
export function routerRuleset(topology: LabTopology): string {
  const list = (values: string[]) => `{ ${values.join(', ')} }`
  const publics = list(topology.nat.map((nat) => nat.public))
  const locals = list(topology.nat.map((nat) => nat.local))
  const inward = list(topology.nat.map((nat) => `${nat.public} : ${nat.local}`))
  const outward = list(topology.nat.map((nat) => `${nat.local} : ${nat.public}`))
  return `table inet lab {
  set cut4 { type ipv4_addr . ipv4_addr; }
  set cut6 { type ipv6_addr . ipv6_addr; }
  chain track {
    type filter hook prerouting priority raw;
    ip daddr ${locals} drop
    meta nfproto ipv6 notrack
    ip daddr != ${publics} ip saddr != ${locals} notrack
  }
  chain inward {
    type nat hook prerouting priority dstnat;
    dnat ip to ip daddr map ${inward}
  }
  chain outward {
    type nat hook postrouting priority srcnat;
    snat ip to ip saddr map ${outward}
  }
  chain cut {
    type filter hook forward priority filter;
    ip saddr . ip daddr @cut4 drop
    ip6 saddr . ip6 daddr @cut6 drop
  }
  chain leak {
    comment "what conntrack calls invalid isn't translated"
    type filter hook postrouting priority srcnat + 10;
    ip saddr ${locals} drop
  }
}
`
}

/** nft commands that cut two hosts from each other at the router, or heal that. */
export function cutCommands(topology: LabTopology, verb: 'add' | 'delete', one: string, other: string): string {
  const pairs = (a: string[], b: string[]) => a.flatMap((x) => b.flatMap((y) => [`${x} . ${y}`, `${y} . ${x}`]))
  const a = topology.hosts[one] as LabHost
  const b = topology.hosts[other] as LabHost
  return `${verb} element inet lab cut4 { ${pairs(a.v4, b.v4).join(', ')} }
${verb} element inet lab cut6 { ${pairs(a.v6, b.v6).join(', ')} }
`
}

function prefixLength(cidr: string): string {
  return cidr.slice(cidr.indexOf('/') + 1)
}

function batch(lines: string[]): string {
  return `ip -batch - <<'END'\n${lines.join('\n')}\nEND\n`
}

/**
 * All settings that matter are written: a new namespace inherits IPv4's from the machine's own
 * (ip-sysctl.rst, devconf_inherit_init_net). Strict rp_filter is what RHEL and systemd have shipped, and
 * the hardest case for a tunnel. No duplicate address detection: addresses are usable at once.
 */
function sysctlScript(router: boolean): string {
  const forwarding = router ? 1 : 0
  const v4 = {
    forwarding,
    rp_filter: 1,
    src_valid_mark: 0,
    route_localnet: 0,
    accept_local: 0,
    arp_ignore: 0,
    arp_announce: 0,
    arp_filter: 0,
    proxy_arp: 0,
    log_martians: 0,
  }
  const v6 = { disable_ipv6: 0, forwarding, accept_ra: router ? 0 : 1, accept_dad: 0, dad_transmits: 0 }
  return `set -eu
put() { for file in /proc/sys/net/$1/conf/*/$2; do echo "$3" >"$file"; done; }
echo ${forwarding} >/proc/sys/net/ipv4/ip_forward
${Object.entries(v4)
  .map(([key, value]) => `put ipv4 ${key} ${value}\n`)
  .join('')}${Object.entries(v6)
  .map(([key, value]) => `put ipv6 ${key} ${value}\n`)
  .join('')}`
}
