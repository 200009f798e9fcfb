/** What other firewalls must let pass, each as a rule for iptables and for nft. Pure. */
import { type Family, familyOf, type Ip } from '../../../proto/model/address.js'
import type { Protocol } from '../../../proto/model/host-spec.js'
import { markMask } from '../own.js'
import { type Place, tag } from './chain.js'

export type Allow =
  /** In forward: connections that bear our mark. */
  | { kind: 'forwarded' }
  /** In input: connections that bear our mark, which are those that came out of a tunnel. */
  | { kind: 'arriving' }
  /** The peer's end of the tunnel: is it there, data copies. */
  | { kind: 'peer'; device: string; address: Ip }
  /** IPv6 neighbour discovery on a tunnel of layer 2. */
  | { kind: 'neighbour'; device: string }
  /** VXLAN within WireGuard. */
  | { kind: 'carrier'; device: string; port: number }
  /** The tunnel's outer packets. */
  | { kind: 'tunnel'; port: number; from: Ip }
  | { kind: 'probe'; protocol: Protocol; port: number }
  /** In prerouting, where the reverse path is checked, by our mark too, which leads elsewhere: connections that bear it. */
  | { kind: 'steered' }
  /** What the dispatch has translated to a process that redirects. */
  | { kind: 'redirect'; port: number }
  /** While the path is measured, before the peer's address is settled. */
  | { kind: 'measure'; port: number }

/** A rule of ours in somebody else's chain. */
export interface FirewallRule {
  place: Place
  allow: Allow
  /** A rule's number (iptables) or handle (nft) before which it must stand; 0: behind all. */
  before: number
}

const mark = `0x${markMask.toString(16)}`

/** The comment of the rule: it names all that the rule depends on, since nft rewrites rules when it lists them. */
export function commentOf(allow: Allow): string {
  const { kind, ...rest } = allow
  return `${tag}${[kind, ...Object.values(rest)].join(' ')}`
}

/** The families that it concerns; both where it says nothing of them. */
export function familiesOf(allow: Allow): Family[] {
  if (allow.kind === 'peer') return [familyOf(allow.address)]
  if (allow.kind === 'tunnel') return [familyOf(allow.from)]
  return allow.kind === 'neighbour' ? [6] : [4, 6]
}

export const hookOf = ({ kind }: Allow): 'input' | 'forward' | 'prerouting' =>
  kind === 'forwarded' ? 'forward' : kind === 'steered' ? 'prerouting' : 'input'

/** Arguments of iptables (iptables-extensions(8)) behind the chain's name. */
export function iptablesWords(allow: Allow): string[] {
  return [...iptablesMatch(allow), '-m', 'comment', '--comment', commentOf(allow), '-j', 'ACCEPT']
}

function iptablesMatch(allow: Allow): string[] {
  const port = (protocol: string, number: number): string[] => ['-p', protocol, '-m', protocol, '--dport', `${number}`]
  switch (allow.kind) {
    case 'forwarded':
    case 'arriving':
    case 'steered':
      return ['-m', 'connmark', '!', '--mark', `0x0/${mark}`]
    case 'peer':
      return ['-s', allow.address, '-i', allow.device]
    case 'neighbour':
      return ['-s', 'fe80::/10', '-i', allow.device, '-p', 'ipv6-icmp']
    case 'carrier':
      return ['-i', allow.device, ...port('udp', allow.port)]
    case 'tunnel':
      return ['-s', allow.from, ...port('udp', allow.port)]
    case 'probe':
      return ['-p', allow.protocol, '-m', allow.protocol, '--dport', `${allow.port}:${allow.port + 1}`]
    case 'redirect':
      return [...port('tcp', allow.port), '-m', 'conntrack', '--ctstate', 'DNAT']
    case 'measure':
      return port('udp', allow.port)
  }
}

/** A rule of nft(8) without its comment. */
export function nftRule(allow: Allow): string {
  const source = (ip: Ip): string => `${familyOf(ip) === 6 ? 'ip6' : 'ip'} saddr ${ip}`
  switch (allow.kind) {
    case 'forwarded':
    case 'arriving':
    case 'steered':
      return `ct mark & ${mark} != 0 accept`
    case 'peer':
      return `iifname "${allow.device}" ${source(allow.address)} accept`
    case 'neighbour':
      return `iifname "${allow.device}" ip6 saddr fe80::/10 meta l4proto ipv6-icmp accept`
    case 'carrier':
      return `iifname "${allow.device}" udp dport ${allow.port} accept`
    case 'tunnel':
      return `${source(allow.from)} udp dport ${allow.port} accept`
    case 'probe':
      return `${allow.protocol} dport ${allow.port}-${allow.port + 1} accept`
    case 'redirect':
      return `tcp dport ${allow.port} ct status dnat accept`
    case 'measure':
      return `udp dport ${allow.port} accept`
  }
}

/** What it lets pass, for a sentence. */
export function describeAllow(allow: Allow): string {
  switch (allow.kind) {
    case 'forwarded':
      return 'what is forwarded for the move (its connections bear our mark)'
    case 'arriving':
      return 'what comes out of a tunnel for services of this host (its connections bear our mark)'
    case 'peer':
      return `${allow.address}, the other end of the tunnel, by ${allow.device}`
    case 'neighbour':
      return `IPv6 neighbour discovery by ${allow.device}`
    case 'carrier':
      return `VXLAN (UDP port ${allow.port}) by ${allow.device}`
    case 'tunnel':
      return `the tunnel: UDP port ${allow.port} from ${allow.from}`
    case 'probe':
      return `probes: ${allow.protocol.toUpperCase()} ports ${allow.port} and ${allow.port + 1}`
    case 'steered':
      return "clients' packets whose way back is a tunnel (their connections bear our mark)"
    case 'redirect':
      return `clients that are answered with a redirect: TCP port ${allow.port}, once translated`
    case 'measure':
      return `UDP port ${allow.port} while the path is measured`
  }
}
