/** Firewalls as they stand on real hosts: each drops what isn't let in by name, and lets SSH and the web in. */

export interface Firewall {
  name: string
  setUp: string
  /** What makes its own tool load its rules anew, so that ours in them are gone. */
  reload: string
  /** Prints rules of ours, one a line. */
  ours: string
}

const web = '80,443,8080'

const iptablesRules = (command: string, icmp: string): string =>
  `${command} -A INPUT -i lo -j ACCEPT
   ${command} -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
   ${command} -A INPUT -p ${icmp} -j ACCEPT
   ${command} -A INPUT -p tcp -m multiport --dports 22,${web} -j ACCEPT
   ${command} -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`

const loadIptables = (kind: string): string =>
  ['', '6']
    .map(
      (family) => `ip${family}tables-${kind} -F INPUT; ip${family}tables-${kind} -F FORWARD
   ${iptablesRules(`ip${family}tables-${kind}`, family === '' ? 'icmp' : 'ipv6-icmp')}
   ip${family}tables-${kind} -P INPUT DROP; ip${family}tables-${kind} -P FORWARD DROP`,
    )
    .join('\n')

/** As RHEL's iptables-services end theirs: no policy, but a last rule. */
const rejecting = (kind: string): string =>
  `${loadIptables(kind)}
   for command in iptables-${kind} ip6tables-${kind}; do
     $command -P INPUT ACCEPT; $command -P FORWARD ACCEPT; $command -A INPUT -j REJECT; $command -A FORWARD -j REJECT
   done`

const nftRules = `nft -f - <<'END'
table inet filter
delete table inet filter
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state vmap { invalid : drop, established : accept, related : accept }
    iifname "lo" accept
    meta l4proto { icmp, ipv6-icmp } accept
    tcp dport { 22, ${web.replaceAll(',', ', ')} } accept
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state { established, related } accept
  }
}
END`

/**
 * After the chains of firewalld 1.3 with nftables (zone public, ssh and the ports of the web): written by
 * hand, without those that are empty, since firewalld itself needs D-Bus.
 */
const firewalldRules = `nft -f - <<'END'
table inet firewalld
delete table inet firewalld
table inet firewalld {
  chain mangle_PREROUTING {
    type filter hook prerouting priority mangle + 10; policy accept;
  }
  chain filter_PREROUTING {
    type filter hook prerouting priority filter + 10; policy accept;
    icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
    meta nfproto ipv6 fib saddr . mark . iif oif missing drop
  }
  chain filter_IN_public {
    tcp dport { 22, ${web.replaceAll(',', ', ')} } accept
    meta l4proto { icmp, ipv6-icmp } accept
    reject with icmpx admin-prohibited
  }
  chain filter_FWD_public {
    reject with icmpx admin-prohibited
  }
  chain filter_INPUT_ZONES {
    goto filter_IN_public
  }
  chain filter_FORWARD_ZONES {
    goto filter_FWD_public
  }
  chain filter_INPUT {
    type filter hook input priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    jump filter_INPUT_ZONES
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    ip6 daddr { ::/96, ::ffff:0.0.0.0/96 } reject with icmpv6 addr-unreachable
    jump filter_FORWARD_ZONES
    reject with icmpx admin-prohibited
  }
}
END`

const byNft = 'nft list ruleset | grep "fleetmove " | grep comment'

export const firewalls: Firewall[] = [
  {
    name: 'iptables',
    setUp: loadIptables('nft'),
    reload: loadIptables('nft'),
    ours: 'iptables-nft-save | grep "fleetmove "',
  },
  {
    name: 'iptables-legacy with a last rule',
    setUp: rejecting('legacy'),
    reload: rejecting('legacy'),
    ours: 'iptables-legacy-save | grep "fleetmove "',
  },
  { name: 'nftables', setUp: nftRules, reload: nftRules, ours: byNft },
  { name: "firewalld's tables", setUp: firewalldRules, reload: firewalldRules, ours: byNft },
  {
    name: 'ufw',
    setUp: `ufw allow 22/tcp; ufw allow ${web}/tcp; ufw --force enable`,
    reload: 'ufw --force disable; ufw --force enable',
    ours: 'iptables-save | grep "fleetmove "',
  },
]
