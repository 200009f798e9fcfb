/** Connections that services open themselves, and that leave with the other host's address. Pure. */
import { type Family, familyOf, type Ip } from '../../proto/model/address.js'
import type { Egress, ServiceSpec, TunnelSpec } from '../../proto/model/host-spec.js'
import { table } from './own.js'

/** RFC 1918, 6598, 3927, 1122; 4193, 4291: what the other host can't reach as this one does. */
const near = {
  4: '10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 169.254.0.0/16, 127.0.0.0/8',
  6: 'fc00::/7, fe80::/10',
} as const

/**
 * Rules for first packets, which give those of services that run here and leave elsewhere their mark.
 * @param mark the rule that marks a connection as going into a tunnel
 */
export function leaveElsewhere(
  services: readonly ServiceSpec[],
  tunnels: readonly TunnelSpec[],
  mark: (tunnel: number) => string,
): string[] {
  return chosenBy(
    tunnels,
    services.flatMap(({ egress }) => {
      if (egress?.uid !== undefined) return [`meta skuid ${egress.uid} ${mark(egress.tunnel)}`]
      if (egress?.container !== undefined) {
        const { sources4, sources6 } = ownSets(egress.tunnel)
        return [`ip saddr @${sources4} ${mark(egress.tunnel)}`, `ip6 saddr @${sources6} ${mark(egress.tunnel)}`]
      }
      if (egress?.source !== undefined) {
        return [`${egress.source.includes(':') ? 'ip6' : 'ip'} saddr ${egress.source} ${mark(egress.tunnel)}`]
      }
      return []
    }),
  )
}

/**
 * The same for what this host's own units and containers open, by sets that the agent keeps: neither a cgroup nor
 * a container's address outlives a restart. Only where a packet leaves a socket of this host: elsewhere the kernel
 * would look for the socket that a client's packet is for.
 */
export function leaveOwn(
  services: readonly ServiceSpec[],
  tunnels: readonly TunnelSpec[],
  mark: (tunnel: number) => string,
): string[] {
  return chosenBy(
    tunnels,
    keptTunnels(services).flatMap((tunnel) => [
      ...cgroupLevels.map((level) => `socket cgroupv2 level ${level} @${ownSets(tunnel).cgroups} ${mark(tunnel)}`),
      `meta skuid @${ownSets(tunnel).uids} ${mark(tunnel)}`,
    ]),
  )
}

/** A unit in a slice of a slice of a slice of a user's. */
export const cgroupLevels = [1, 2, 3, 4, 5, 6] as const

/** The agent keeps sets of what these have now (agent/flows/egress-keeper.ts). */
export const isKept = ({ unit, container, listeners }: Egress): boolean =>
  unit !== undefined || container !== undefined || listeners === true

/** Tunnels into which units and containers of this host open connections. */
const keptTunnels = (services: readonly ServiceSpec[]): number[] => [
  ...new Set(services.flatMap(({ egress }) => (egress && isKept(egress) ? [egress.tunnel] : []))),
]

/** Names of the sets that the agent keeps for a tunnel. */
export const ownSets = (tunnel: number): Record<keyof typeof setTypes, string> => ({
  cgroups: `leaving-cgroups-${tunnel}`,
  uids: `leaving-uids-${tunnel}`,
  sources4: `leaving4-${tunnel}`,
  sources6: `leaving6-${tunnel}`,
})
const setTypes = { cgroups: 'cgroupsv2', uids: 'uid', sources4: 'ipv4_addr', sources6: 'ipv6_addr' } as const

/** Commands that declare them. */
export const declareOwnSets = (services: readonly ServiceSpec[]): string[] =>
  keptTunnels(services).flatMap((tunnel) =>
    (Object.keys(setTypes) as (keyof typeof setTypes)[]).map(
      (set) => `add set inet ${table} ${ownSets(tunnel)[set]} { type ${setTypes[set]}; }`,
    ),
  )

function chosenBy(tunnels: readonly TunnelSpec[], chosen: readonly string[]): string[] {
  if (chosen.length === 0) return []
  // Between the hosts, and the tunnels' own packets.
  const peers = (family: Family): Ip[] => [
    ...new Set(tunnels.flatMap((t) => [...t.peerAddresses, t.remote]).filter((ip) => familyOf(ip) === family)),
  ]
  return [
    'tcp flags & (fin | syn | rst | ack) != syn return',
    'fib daddr type != unicast return',
    `ip daddr { ${[near[4], ...peers(4)].join(', ')} } return`,
    `ip6 daddr { ${[near[6], ...peers(6)].join(', ')} } return`,
    ...new Set(chosen),
  ]
}

const isChosen = (egress: Egress): boolean => egress.uid !== undefined || egress.source !== undefined || isKept(egress)

/** Tunnels whose peers' connections leave here, with the address that they bear by family. */
function carried(services: readonly ServiceSpec[]): Map<number, Map<Family, Ip>> {
  const tunnels = new Map<number, Map<Family, Ip>>()
  for (const { egress, routes } of services) {
    if (!egress || isChosen(egress)) continue
    const own = tunnels.get(egress.tunnel) ?? new Map<Family, Ip>()
    for (const { address } of routes) if (!own.has(familyOf(address))) own.set(familyOf(address), address)
    tunnels.set(egress.tunnel, own)
  }
  return tunnels
}

/** Rules of a nat chain in postrouting, for what goes out by an uplink. */
export const leaveHere = (services: readonly ServiceSpec[], devices: ReadonlyMap<number, string>): string[] =>
  [...carried(services)].flatMap(([tunnel, own]) =>
    [...own].map(([family, ip]) => `iifname "${devices.get(tunnel)}" snat ${family === 4 ? 'ip' : 'ip6'} to ${ip}`),
  )

/** Rules of a filter chain for what a peer sends on to the world, of its own accord. */
export const guardLeaving = (services: readonly ServiceSpec[], devices: ReadonlyMap<number, string>): string[] => [
  ...[...carried(services).keys()].map((tunnel) => `iifname "${devices.get(tunnel)}" accept`),
  // FTP's server opens connections to its clients.
  'ct status & expected == 0 drop',
]
