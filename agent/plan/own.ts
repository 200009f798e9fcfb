/** The names and numbers by which everything of ours in a kernel is known. */

/** The table in nf_tables, family inet. */
export const table = 'fleetmove'

/**
 * Routing protocol number of our routes and rules (rtm_protocol, FRA_PROTOCOL). Free in
 * /etc/iproute2/rt_protos of iproute2 6.1 and unused by BIRD (12), FRR (186 to 197) and networkd (static, dhcp, ra).
 */
export const routeProtocol = 146

/**
 * Rules stand before Tailscale's (5210 to 5270) and before main (32766): what bears our mark has
 * already been decided on, nobody else's table may take it.
 */
export const rulePriority = 5180

/** One routing table a tunnel; 5180 + index is clear of the reserved ones and of common VRF numbers. */
export const routeTable = (tunnel: number): number => 5180 + tunnel

/**
 * The byte of marks that is ours. Kubernetes uses 0x4000 and 0x8000, Tailscale 0x00ff0000, Cilium
 * 0x0f00: the top byte is the quiet one. The lowest bit of it tells the kind, the rest the tunnel.
 */
export const markMask = 0xff000000
/** Connections whose first packet came from tunnel i: their replies go back into it. */
export const fromTunnel = (tunnel: number): number => (tunnel << 25) >>> 0
/** Connections whose first packet goes into tunnel i: what follows it goes there too. */
export const intoTunnel = (tunnel: number): number => ((tunnel << 25) | (1 << 24)) >>> 0
/** The routing mark of tunnel i; `routeMask` leaves out the kind. */
export const routeMark = fromTunnel
export const routeMask = 0xfe000000

/** Conntrack zone of what arrives from tunnel i, for the original direction only. */
export const zone = (tunnel: number): number => 5180 + tunnel

/** Counts answers to UDP flows that have been forgotten; names of services' counters end otherwise. */
export const lateCounter = 'late-answers'

/** The device that carries clients' packets; IFNAMSIZ leaves 15 characters. */
export const tunnelDevice = (tunnel: number): string => `fm${tunnel}`
/** WireGuard under VXLAN. */
export const underDevice = (tunnel: number): string => `fmw${tunnel}`
export const isOurDevice = (name: string): boolean => deviceIndex(name) !== undefined
/** The tunnel that a device of ours belongs to. */
export const deviceIndex = (name: string): number | undefined => {
  const match = /^fmw?(\d{1,2})$/.exec(name)
  return match ? Number(match[1]) : undefined
}

/** Stands in argv for this agent's own runtime and program: where those are is the host's business. */
export const ownProgram = 'fleetmove-agent'

export const paths = {
  lib: '/usr/local/lib/fleetmove',
  state: '/var/lib/fleetmove',
  keys: '/var/lib/fleetmove/keys',
  run: '/run/fleetmove',
  socket: '/run/fleetmove/agent.sock',
} as const
