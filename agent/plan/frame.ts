/**
 * The frame of the table: the chains in netfilter's hooks, and those of the tunnels. It doesn't depend on
 * services. Every packet of the host passes here, so a hook has few rules, and what concerns few packets
 * stands in chains that the others don't enter.
 */
import type { TunnelSpec } from '../../proto/model/host-spec.js'
import {
  base,
  carryChain,
  chainOf,
  darkChain,
  egressChain,
  helpersChain,
  hex,
  others,
  ownEgressChain,
  type Part,
  setConnectionMark,
  setRoutingMark,
  strangersChain,
  unzonedChain,
} from './chain.js'
import { isLate, readdressLate, untrackLate } from './late-answers.js'
import { localClients, localhost } from './local-clients.js'
import { overrideDispatch, overrideLocalhost } from './overrides.js'
import { fromTunnel, intoTunnel, markMask, routeMark, zone } from './own.js'
import { silentCounter, silentRules, unreachableHooks } from './unreachable.js'

export interface FrameInput {
  /** Tunnel index → the device that carries clients' packets. */
  devices: ReadonlyMap<number, string>
  /** Devices by which clients' packets come in. */
  uplinks: readonly string[]
  /** Devices on which we opened IPv4 forwarding: what isn't ours is dropped there. */
  opened4: readonly string[]
  /** We opened IPv6 forwarding, which has one switch for the whole host. */
  opened6: boolean
}

const quoted = (names: readonly string[]): string => names.map((name) => `"${name}"`).join(', ')

/** @param tunnels by index */
export function frameOf(input: FrameInput, tunnels: TunnelSpec[]): Part[] {
  const device = (tunnel: TunnelSpec): string => {
    const name = input.devices.get(tunnel.index)
    if (name === undefined) throw new Error(`tunnel ${tunnel.index} has no device`)
    return name
  }
  const all = tunnels.map(device)
  const perDevice = (prefix: string): string =>
    all.length === 0 ? '' : `{ ${tunnels.map((t) => `"${device(t)}" : goto ${prefix}-${t.index}`).join(', ')} }`
  // One look-up tells what is to be done with a packet, however many tunnels there are.
  const steer =
    all.length === 0
      ? []
      : [
          `ct mark & ${hex(markMask)} vmap { ${tunnels
            .map(
              (t) =>
                `${hex(fromTunnel(t.index))} : goto answers-${t.index}, ${hex(intoTunnel(t.index))} : goto onward-${t.index}`,
            )
            .join(', ')} }`,
        ]
  const unmarked = `ct mark & ${hex(markMask)} == 0`
  const [leaving, leavingOwn] = [`${unmarked} jump ${egressChain}`, `${unmarked} jump ${ownEgressChain}`]
  const toUplink = (from: string): string => `${from} oifname { ${quoted(input.uplinks)} }`
  const open = [
    // A connection that was there before this table is picked up in its middle, and must not be
    // translated: only a pure opening SYN is.
    'tcp flags & (fin | syn | rst | ack) != syn accept',
    ...overrideDispatch,
    'meta l4proto { tcp, udp } ip daddr . meta l4proto . th dport vmap @open4',
    'meta l4proto { tcp, udp } ip6 daddr . meta l4proto . th dport vmap @open6',
  ]
  const guard = [
    ...(input.opened4.length > 0 || input.opened6 ? isLate.map((match) => `ct state untracked ${match} accept`) : []),
    ...(input.opened4.length > 0 ? [`meta nfproto ipv4 iifname { ${quoted(input.opened4)} } drop`] : []),
    ...(input.opened6 ? ['meta nfproto ipv6 drop'] : []),
  ]
  return [
    base('late-output', 'type filter hook output priority raw', ['meta l4proto udp jump late']),
    base('zone-prerouting', 'type filter hook prerouting priority raw', [
      // Out of a tunnel, or from a container.
      'meta l4proto udp jump late',
      ...(all.length > 0 ? [`iifname vmap ${perDevice('zone')}`] : []),
    ]),
    base('mark-prerouting', 'type filter hook prerouting priority mangle', [
      ...(all.length > 0 ? [`iifname vmap ${perDevice('from')}`] : []),
      'ct state new jump first-prerouting',
      ...steer,
    ]),
    // As `type filter` the mark would come too late: the socket has routed already.
    base('mark-output', 'type route hook output priority mangle', ['ct state new jump first-output', ...steer]),
    base('open-prerouting', 'type nat hook prerouting priority -110', [
      // What comes out of a tunnel is answered here, or two hosts would play ball with it.
      ...(all.length > 0 ? [`iifname { ${quoted(all)} } accept`] : []),
      ...open,
    ]),
    base('open-output', 'type nat hook output priority -110', [
      // The agent asks after the health of the service that stands here, and not of the peer's.
      ...(['local4', 'local6'] as const).flatMap((end) =>
        all.length === 0
          ? []
          : [`${end === 'local4' ? 'ip' : 'ip6'} saddr { ${tunnels.map((t) => t[end]).join(', ')} } accept`],
      ),
      ...open,
      // Health checks come from another address of the loopback's.
      overrideLocalhost,
      `ip saddr ${localhost} ip daddr ${localhost} meta l4proto { tcp, udp } meta l4proto . th dport vmap @localhost`,
    ]),
    ...unreachableHooks(tunnels),
    // Empty: their presence makes conntrack choose another source port where two connections' replies
    // would be the same (see zone-prerouting).
    base('unique-input', 'type nat hook input priority 100', []),
    base('hairpin-postrouting', 'type nat hook postrouting priority 90', [
      ...tunnels.flatMap((t) => localClients(t, device(t), input.uplinks)),
      ...(input.uplinks.length > 0 ? [`${toUplink('ct direction original')} jump ${carryChain}`] : []),
    ]),
    base('leave-postrouting', 'type filter hook postrouting priority mangle', [
      // Here, since with an address of this host as their source they would not be let in.
      'ct state untracked jump readdress',
      ...(all.length > 0 ? [`oifname vmap ${perDevice('leave')}`] : []),
    ]),
    base(
      'guard-forward',
      'type filter hook forward priority filter',
      guard.length > 0
        ? [
            ...(all.length > 0 && input.uplinks.length > 0
              ? [`${toUplink(`iifname { ${quoted(all)} } ct direction original`)} jump ${strangersChain}`]
              : []),
            `ct mark & ${hex(markMask)} != 0 accept`,
            ...guard,
          ]
        : [],
    ),
    chainOf({ chain: 'late', rules: untrackLate }),
    chainOf({ chain: 'readdress', rules: readdressLate }),
    chainOf({
      chain: 'first-prerouting',
      rules: [
        `jump ${helpersChain}`,
        `iifname != "lo" tcp flags & (fin | syn | rst | ack) == syn jump ${darkChain}`,
        leaving,
      ],
    }),
    chainOf({ chain: 'first-output', rules: [`jump ${helpersChain}`, leaving, leavingOwn] }),
    ...tunnels.flatMap((t): Part[] => [
      chainOf({
        chain: `zone-${t.index}`,
        rules: [
          // Nothing but answers may come to 127.0.0.1 by a tunnel, and those bear another address here.
          'ip daddr 127.0.0.0/8 drop',
          `jump ${unzonedChain}`,
          // One client address and port may use both public addresses: in a zone of their own the two
          // connections don't meet. Only the original direction, so that replies are found without it.
          `fib daddr type local ct original zone set ${zone(t.index)}`,
        ],
      }),
      chainOf({ chain: `from-${t.index}`, rules: [clamped(t), `ct state new goto arrive-${t.index}`] }),
      chainOf({
        chain: `arrive-${t.index}`,
        rules: [
          `jump ${helpersChain}`,
          // Between the tunnel's own ends nothing is steered: health probes, data copies.
          `ip saddr ${t.peer4} accept`,
          `ip6 saddr ${t.peer6} accept`,
          setConnectionMark(fromTunnel(t.index)),
        ],
      }),
      // Not the interface but the direction tells what to steer: ICMP errors and the children of FTP
      // come in by other interfaces than the connection's own packets. Data connections of FTP are
      // opened by either side: what doesn't come out of the tunnel goes into it.
      chainOf({ chain: `answers-${t.index}`, rules: routed(t, 'reply') }),
      chainOf({ chain: `onward-${t.index}`, rules: routed(t, 'original') }),
      chainOf({ chain: silentCounter(t.index), rules: silentRules(t) }),
      chainOf({ chain: `route-${t.index}`, rules: [setRoutingMark(routeMark(t.index))] }),
      // The kernel's VXLAN routes its outer packet by the inner one's mark, and would loop.
      chainOf({ chain: `leave-${t.index}`, rules: [clamped(t), `meta mark set meta mark & ${others}`] }),
      chainOf({ chain: `clamp-${t.index}`, rules: clamp(t.mtu) }),
    ]),
  ]
}

const routed = (t: TunnelSpec, direction: 'original' | 'reply'): string[] => [
  `ct direction ${direction} goto route-${t.index}`,
  `ct status & expected != 0 goto route-${t.index}`,
]

const clamped = (t: TunnelSpec): string => `tcp flags & (syn | rst) == syn jump clamp-${t.index}`

/** MSS = MTU less IP and TCP headers (RFC 879): 40 bytes for IPv4, 60 for IPv6. The kernel never raises it. */
const clamp = (mtu: number): string[] => [
  `meta nfproto ipv4 tcp option maxseg size set ${mtu - 40}`,
  `meta nfproto ipv6 tcp option maxseg size set ${mtu - 60}`,
]
