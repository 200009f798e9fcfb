import type { Family } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import type { TunnelDriver } from '../../proto/model/host-spec.js'

/** What a host can do for a tunnel, as preflight found it. */
export interface TunnelFacts {
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

/** One of the two hosts, by its name in fleet.yaml. */
export interface TunnelEndFacts {
  host: string
  facts: TunnelFacts
}

export interface TunnelChoice {
  ok: true
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
  a: TunnelEndFacts,
  b: TunnelEndFacts,
): TunnelChoice | { ok: false; problems: TunnelProblem[] } => {
  if (wanted !== 'auto') {
    const problems = problemsOf(wanted, a, b)
    if (problems.length > 0) return { ok: false, problems }
    return choice(wanted, a, b, `${labels[wanted]}, as fleet.yaml says${where(wanted, a, b)}`)
  }
  const withWireguard = problemsOf('wireguard', a, b)
  if (withWireguard.length === 0) {
    const why = a.facts.kernelWireguard && b.facts.kernelWireguard ? 'the fastest' : 'at least as fast as OpenVPN'
    return choice('wireguard', a, b, `${labels.wireguard}, ${why}${where('wireguard', a, b)}`)
  }
  const withOpenvpn = problemsOf('openvpn', a, b)
  if (withOpenvpn.length > 0) return { ok: false, problems: [...withWireguard, ...withOpenvpn] }
  const missing = withWireguard.map(({ message }) => message).join('; ')
  return choice('openvpn', a, b, `OpenVPN, since WireGuard isn't there on both hosts: ${missing}`)
}

const labels: Record<TunnelDriver, string> = {
  openvpn: 'OpenVPN',
  wireguard: 'WireGuard',
  'wireguard-l2': 'WireGuard with VXLAN',
  direct: 'The link that is there already',
}

const isWireguard = (driver: TunnelDriver): boolean => driver === 'wireguard' || driver === 'wireguard-l2'

const choice = (driver: TunnelDriver, a: TunnelEndFacts, b: TunnelEndFacts, reason: string): TunnelChoice => {
  const userspace = ({ facts }: TunnelEndFacts) => isWireguard(driver) && !facts.kernelWireguard
  return { ok: true, driver, userspace: { a: userspace(a), b: userspace(b) }, reason }
}

const where = (driver: TunnelDriver, a: TunnelEndFacts, b: TunnelEndFacts): string => {
  if (!isWireguard(driver)) return ''
  const processes = [a, b].filter(({ facts }) => !facts.kernelWireguard).map(({ host }) => host)
  if (processes.length === 0) return ', in both kernels'
  return `, as a process (wireguard-go) on ${processes.join(' and ')}, whose kernel${processes.length > 1 ? 's lack' : ' lacks'} it`
}

const problemsOf = (driver: TunnelDriver, ...ends: TunnelEndFacts[]): TunnelProblem[] =>
  ends.flatMap((end) =>
    obstacles[driver](end).map(([message, hint]) => ({
      host: end.host,
      driver,
      message: `${end.host} ${message}`,
      hint,
    })),
  )

type Obstacles = [message: string, hint: string][]

const noTun = (host: string): [string, string] => [
  'cannot open /dev/net/tun',
  `On ${host}, load it with: modprobe tun. In a container, have its host pass /dev/net/tun in.`,
]

const wireguardObstacles = ({ host, facts }: TunnelEndFacts): Obstacles => {
  const found: Obstacles = []
  if (!facts.wg) found.push(["has no 'wg' program", `Install it on ${host}: apt install wireguard-tools`])
  if (facts.kernelWireguard) return found
  if (!facts.wireguardGo)
    found.push([
      'has WireGuard neither in the kernel nor as a program',
      `Install it on ${host}: apt install wireguard-go, or boot a kernel with the wireguard module`,
    ])
  if (!facts.tun) found.push(noTun(host))
  return found
}

const vxlanObstacles = ({ facts }: TunnelEndFacts): Obstacles =>
  facts.vxlan
    ? []
    : [['has a kernel without VXLAN', `Choose 'driver: wireguard' or 'driver: openvpn' under 'tunnel' in fleet.yaml`]]

const openvpnObstacles = ({ host, facts }: TunnelEndFacts): Obstacles => {
  const found: Obstacles = []
  const install = `Install OpenVPN ${openvpnMinimum.join('.')} or later on ${host}: apt install openvpn`
  if (facts.openvpn === null) found.push(['has no OpenVPN', install])
  else if (!recentEnough(facts.openvpn))
    found.push([`has OpenVPN ${facts.openvpn}, which cannot pin the peer's certificate`, install])
  if (!facts.tun) found.push(noTun(host))
  return found
}

const obstacles: Record<TunnelDriver, (end: TunnelEndFacts) => Obstacles> = {
  wireguard: wireguardObstacles,
  'wireguard-l2': (end) => [...wireguardObstacles(end), ...vxlanObstacles(end)],
  openvpn: openvpnObstacles,
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

/**
 * The MTU of a tunnel's device for a measured path. It is never below 1,280 bytes. On a path too
 * narrow for that, the outer packets may go in fragments over IPv4 if they are sent without DF:
 * WireGuard in the kernel and OpenVPN do so, wireguard-go leaves DF set. IPv6 routers never fragment.
 * @param pathMtu of the whole outer IP packet, measured both ways
 * @param userspace whether WireGuard runs as a process on either host
 * @throws FleetmoveError 'preflight' where no MTU works
 */
export const tunnelMtu = (pathMtu: number, driver: TunnelDriver, outer: Family, userspace: boolean): number => {
  const mtu = pathMtu - overhead(driver, outer)
  if (mtu >= leastTunnelMtu) return mtu
  if (outer === 4 && driver !== 'direct' && !(isWireguard(driver) && userspace)) return leastTunnelMtu
  const needed = leastTunnelMtu + overhead(driver, outer)
  throw new FleetmoveError('preflight', {
    message: `The path between the hosts carries packets of ${pathMtu} bytes, but ${labels[driver]} needs ${needed}, to leave the ${leastTunnelMtu} bytes that IPv6 needs inside`,
    hint: wayOut(pathMtu, driver, outer),
  })
}

const wayOut = (pathMtu: number, driver: TunnelDriver, outer: Family): string => {
  const least = leastTunnelMtu + overhead('wireguard', outer)
  if (driver === 'wireguard-l2' && pathMtu >= least)
    return `Set 'driver: wireguard' under 'tunnel' in fleet.yaml: it needs ${least}.`
  if (outer === 6)
    return `Give both hosts an IPv4 address in fleet.yaml and set 'driver: openvpn': over IPv4 its packets may go in fragments.`
  return `Set 'driver: openvpn' under 'tunnel' in fleet.yaml: its packets may go in fragments. Or find the narrow link (tracepath) and widen it.`
}
