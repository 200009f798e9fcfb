/** Whose rule it is, by the names that programs give their tables and chains. */

const owners: readonly (readonly [RegExp, string])[] = [
  [/^fleetmove/, 'fleetmove'],
  [/^DOCKER|^docker/, 'Docker'],
  [/^ufw6?-/, 'ufw'],
  [/^firewalld$/, 'firewalld'],
  [/^KUBE-|^kube-proxy$/, 'Kubernetes'],
  [/^cali-/, 'Calico'],
  [/^CILIUM/, 'Cilium'],
  [/^ts-|^tailscale/, 'Tailscale'],
  [/^f2b-/, 'fail2ban'],
  [/^LIBVIRT_|^libvirt/, 'libvirt'],
  [/^CNI-|^cni/, 'CNI'],
  [/^NETAVARK|^netavark/, 'Podman'],
  [/^crowdsec/, 'CrowdSec'],
]

/** The tables that iptables makes (iptables(8), TABLES), in families ip and ip6. */
const iptables = new Set(['filter', 'nat', 'mangle', 'raw', 'security'])

export interface RulePlace {
  readonly family: string
  readonly table: string
  readonly chain: string
}

/** A program's name; else where the rule stands, for whoever wrote it. */
export function ownerOf({ family, table, chain }: RulePlace): string {
  for (const [pattern, owner] of owners) if (pattern.test(chain) || pattern.test(table)) return owner
  if ((family === 'ip' || family === 'ip6') && iptables.has(table))
    return `${family === 'ip' ? 'iptables' : 'ip6tables'} -t ${table}`
  return `nft table ${family} ${table}`
}
