/**
 * What becomes of openings while a tunnel is silent, and while connection tracking is nearly full. The rules
 * always stand; two sets switch them, whose elements are the agent's own doing from second to second and no
 * part of what is planned. Elements run out by themselves: without an agent nobody is turned away. Pure.
 */
import type { TunnelSpec } from '../../proto/model/host-spec.js'
import { base, chainOf, hex, type Part } from './chain.js'
import { intoTunnel, markMask, table } from './own.js'

/** Marks (intoTunnel) of tunnels whose peer doesn't answer. */
export const silentSet = 'silent'
/** Protocols of which no further connections may take entries of connection tracking for us. */
export const shedSet = 'shed'
/** Openings turned away for want of entries. */
export const shedCounter = 'shed'
/** Openings that met a silent tunnel. */
export const silentCounter = (tunnel: number): string => `silent-${tunnel}`
export const silentMark = (tunnel: number): string => hex(intoTunnel(tunnel))

const ours = `ct mark & ${hex(markMask)}`

export const switchSets = [
  `add set inet ${table} ${silentSet} { type mark; flags timeout; size 64; }`,
  `add set inet ${table} ${shedSet} { type inet_proto; flags timeout; size 2; }`,
]

export const switchCounters = (tunnels: readonly TunnelSpec[]): string[] =>
  tunnels.length === 0 ? [] : [shedCounter, ...tunnels.map(({ index }) => silentCounter(index))]

/**
 * Behind the dispatch, which has marked the opening, and before routing, which may find no device any more. All nat
 * chains of a hook run where the kernel has its own place for them, at -100 (nf_nat_register_fn), whatever they say.
 */
const afterDispatch = 'priority -95'

/** Where the peer is a neighbour that doesn't answer, these tell clients that the host is unreachable. */
const neighbourErrors = [
  'icmp type destination-unreachable icmp code host-unreachable',
  'icmpv6 type destination-unreachable icmpv6 code addr-unreachable',
]

export function unreachableHooks(tunnels: readonly TunnelSpec[]): Part[] {
  if (tunnels.length === 0) return []
  const silent = tunnels.map(({ index }) => `${silentMark(index)} : goto ${silentCounter(index)}`).join(', ')
  const held = tunnels.filter((tunnel) => tunnel.unreachable === undefined).map(({ index }) => silentMark(index))
  return [
    base('unreachable-prerouting', `type filter hook prerouting ${afterDispatch}`, [
      'ct state new jump shed',
      'ct state new jump silent',
    ]),
    base('unreachable-output', `type filter hook output ${afterDispatch}`, [
      'ct state new jump silent',
      'ct state related jump neighbour-errors',
    ]),
    chainOf({
      chain: 'shed',
      // Of a connection that has its entry already, sending its opening again costs nothing.
      rules: [`meta l4proto @${shedSet} ct status & confirmed == 0 ${ours} != 0 counter name "${shedCounter}" drop`],
    }),
    chainOf({
      chain: 'silent',
      // What has its entry already, and so its translation, which fits the refusal, too; the others see meetSilence.
      rules: [`ct status & confirmed != 0 ${ours} @${silentSet} ${ours} vmap { ${silent} }`],
    }),
    chainOf({
      chain: 'neighbour-errors',
      // A client that hears of it gives up at once (Linux: tcp_v4_err in SYN_SENT), and was to try again.
      rules: held.length === 0 ? [] : neighbourErrors.map((error) => `${error} ${ours} { ${held.join(', ')} } drop`),
    }),
  ]
}

/**
 * In the dispatch, behind the connection's mark and before it is translated: of a refusal by ICMP the kernel turns
 * the translation back only where the connection has its entry.
 */
export const meetSilence = (tunnel: number): string => `${ours} @${silentSet} jump ${silentCounter(tunnel)}`

/** Of one tunnel's chain. Left to itself an opening goes into the tunnel and vanishes there; its sender tries again. */
export const silentRules = ({ index, unreachable }: TunnelSpec): string[] => [
  `counter name "${silentCounter(index)}"`,
  ...(unreachable === 'reset'
    ? ['meta l4proto tcp reject with tcp reset', 'reject with icmpx type port-unreachable']
    : []),
]
