import type { Family } from '../../proto/model/address.js'
import type { TunnelDriver } from '../../proto/model/host-spec.js'

/** What a host can do for a tunnel, as preflight found it. */
export interface TunnelFacts {
  /** The host's name in fleet.yaml, for sentences. */
  host: string
  /** The kernel has WireGuard, or loads it. */
  kernelWireguard: boolean
  /** The wireguard-go program is there. */
  wireguardGo: boolean
  /** The `wg` program is there. */
  wg: boolean
  /** Version as OpenVPN prints it, `2.6.14`; null: not installed. */
  openvpn: string | null
  /** /dev/net/tun can be opened. */
  tun: boolean
  /** The kernel has VXLAN, or loads it. */
  vxlan: boolean
}

export interface TunnelChoice {
  driver: TunnelDriver
  /** Where WireGuard runs as a process (wireguard-go), not in the kernel; false for other drivers. */
  userspace: { a: boolean; b: boolean }
  /** One sentence, for `plan`. */
  reason: string
}

/** What keeps one host from using one driver, and the way out. */
export interface TunnelProblem {
  host: string
  driver: TunnelDriver
  message: string
  hint: string
}

/** --peer-fingerprint, and AEAD ciphers agreed between two peers, came with 2.6 (Changes.rst). */
export const openvpnMinimum: readonly [number, number] = [2, 6]

/**
 * Which driver the two hosts use. `auto` takes the fastest that both can: WireGuard, in the kernel
 * where it can be and as a process where it can't, and OpenVPN where there is no WireGuard. VXLAN over
 * WireGuard is slower than WireGuard alone and gains nothing for forwarding, so it must be asked for,
 * as must `direct`, whose device only the operator knows. Figures: docs/decisions.
 * @returns the choice, or what stands in the way of every driver that came into question
 */
export const chooseTunnel = (
  wanted: 'auto' | TunnelDriver,
  a: TunnelFacts,
  b: TunnelFacts,
): TunnelChoice | TunnelProblem[] => {
  if (wanted !== 'auto') {
    const problems = problemsOf(wanted, a, b)
    return problems.length > 0
      ? problems
      : choice(wanted, a, b, `${label(wanted)}, as fleet.yaml says${where(wanted, a, b)}`)
  }
  const withWireguard = problemsOf('wireguard', a, b)
  if (withWireguard.length === 0) {
    const why = a.kernelWireguard && b.kernelWireguard ? 'the fastest' : 'faster here than OpenVPN'
    return choice('wireguard', a, b, `${label('wireguard')}, ${why}${where('wireguard', a, b)}`)
  }
  const withOpenvpn = problemsOf('openvpn', a, b)
  if (withOpenvpn.length > 0) return [...withWireguard, ...withOpenvpn]
  const missing = withWireguard.map(({ message }) => message).join('; ')
  return choice('openvpn', a, b, `${label('openvpn')}, since WireGuard isn't there on both hosts: ${missing}`)
}

const labels: Record<TunnelDriver, string> = {
  openvpn: 'OpenVPN',
  wireguard: 'WireGuard',
  'wireguard-l2': 'WireGuard with VXLAN',
  direct: 'The link that is there already',
}
const label = (driver: TunnelDriver): string => labels[driver]

const isWireguard = (driver: TunnelDriver): boolean => driver === 'wireguard' || driver === 'wireguard-l2'

const choice = (driver: TunnelDriver, a: TunnelFacts, b: TunnelFacts, reason: string): TunnelChoice => ({
  driver,
  userspace: { a: isWireguard(driver) && !a.kernelWireguard, b: isWireguard(driver) && !b.kernelWireguard },
  reason,
})

const where = (driver: TunnelDriver, a: TunnelFacts, b: TunnelFacts): string => {
  if (!isWireguard(driver)) return ''
  const processes = [a, b].filter(({ kernelWireguard }) => !kernelWireguard).map(({ host }) => host)
  return processes.length === 0
    ? ', in both kernels'
    : `, as a process (wireguard-go) on ${processes.join(' and ')}, whose kernel${processes.length > 1 ? 's lack' : ' lacks'} it`
}

const problemsOf = (driver: TunnelDriver, ...hosts: TunnelFacts[]): TunnelProblem[] =>
  hosts.flatMap((facts) =>
    obstacles[driver](facts).map(([message, hint]) => ({
      host: facts.host,
      driver,
      message: `${facts.host} ${message}`,
      hint,
    })),
  )

type Obstacles = [message: string, hint: string][]

const noTun = (host: string): [string, string] => [
  'cannot open /dev/net/tun',
  `On ${host}, load it with: modprobe tun. In a container, have its host pass /dev/net/tun in.`,
]

const wireguardObstacles = (facts: TunnelFacts): Obstacles => {
  const found: Obstacles = []
  if (!facts.wg) found.push(["has no 'wg' program", `Install it on ${facts.host}: apt install wireguard-tools`])
  if (facts.kernelWireguard) return found
  if (!facts.wireguardGo)
    found.push([
      'has WireGuard neither in the kernel nor as a program',
      `Install it on ${facts.host}: apt install wireguard-go, or boot a kernel with the wireguard module`,
    ])
  if (!facts.tun) found.push(noTun(facts.host))
  return found
}

const obstacles: Record<TunnelDriver, (facts: TunnelFacts) => Obstacles> = {
  wireguard: wireguardObstacles,
  'wireguard-l2': (facts) => [
    ...wireguardObstacles(facts),
    ...(facts.vxlan
      ? []
      : ([
          ['has a kernel without VXLAN', `Choose 'driver: wireguard' or 'driver: openvpn' in fleet.yaml`],
        ] as Obstacles)),
  ],
  openvpn: (facts) => {
    const found: Obstacles = []
    const install = `Install OpenVPN ${openvpnMinimum.join('.')} or later on ${facts.host}: apt install openvpn`
    if (facts.openvpn === null) found.push(['has no OpenVPN', install])
    else if (!recentEnough(facts.openvpn))
      found.push([`has OpenVPN ${facts.openvpn}, which cannot pin the peer's certificate`, install])
    if (!facts.tun) found.push(noTun(facts.host))
    return found
  },
  direct: () => [],
}

/** What can't be read counts as too old. */
const recentEnough = (version: string): boolean => {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(version) ?? []
  if (major === undefined) return false
  return (
    Number(major) > openvpnMinimum[0] || (Number(major) === openvpnMinimum[0] && Number(minor) >= openvpnMinimum[1])
  )
}

/** What a driver adds to each packet besides the outer IP header, in bytes. */
const added: Record<TunnelDriver, number> = {
  // UDP 8; type, receiver, counter 16; Poly1305 tag 16 (WireGuard paper, 5.4.6)
  wireguard: 40,
  // The same, and inner IPv6 40, UDP 8, VXLAN 8, Ethernet 14
  'wireguard-l2': 110,
  // UDP 8; opcode and peer id 4, packet id 4, AEAD tag 16; Ethernet 14
  openvpn: 46,
  direct: 0,
}

/** Bytes from the tunnel's MTU to that of the outer path, with the outer IP header. */
export const overhead = (driver: TunnelDriver, outer: Family): number =>
  driver === 'direct' ? 0 : added[driver] + (outer === 6 ? 40 : 20)

/** IPv6 needs it (RFC 8200, 5): on a device with less the kernel has no IPv6 at all. */
export const leastTunnelMtu = 1280

export interface TunnelMtu {
  mtu: number
  /** Full packets leave in two or more fragments, since the path is narrower than the least MTU and the overhead. */
  fragments: boolean
}

/**
 * The MTU of a tunnel's device for a measured path. Below 1,280 bytes it doesn't go. On a path too
 * narrow for that, IPv4 may carry the outer packets in fragments, if they are sent without DF:
 * WireGuard in the kernel and OpenVPN do so, wireguard-go leaves DF set. IPv6 routers never fragment.
 * @param pathMtu of the outer IP packet, measured both ways
 * @returns a sentence for the operator where no MTU works
 */
export const tunnelMtu = (
  pathMtu: number,
  driver: TunnelDriver,
  outer: Family,
  userspace: boolean,
): TunnelMtu | { problem: string; hint: string } => {
  const mtu = pathMtu - overhead(driver, outer)
  if (mtu >= leastTunnelMtu) return { mtu, fragments: false }
  const fragmentable = outer === 4 && driver !== 'direct' && !(isWireguard(driver) && userspace)
  if (fragmentable) return { mtu: leastTunnelMtu, fragments: true }
  const needed = leastTunnelMtu + overhead(driver, outer)
  const least = leastTunnelMtu + overhead('wireguard', outer)
  return {
    problem: `The path between the hosts carries packets of ${pathMtu} bytes; ${labels[driver]} needs ${needed} to leave ${leastTunnelMtu} for IPv6 inside`,
    hint:
      driver !== 'wireguard' && driver !== 'direct' && pathMtu >= least
        ? `Set 'driver: wireguard' in fleet.yaml: it needs ${least}`
        : outer === 6
          ? `Give both hosts an IPv4 address to reach each other by, and 'driver: openvpn': IPv4 may carry the packets in fragments`
          : `Set 'driver: openvpn' in fleet.yaml: its packets may be carried in fragments; or find the narrow link (tracepath) and widen it`,
  }
}
