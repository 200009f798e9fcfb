/**
 * The whole desired state of one host, as the controller sends it and the agent keeps it in its
 * ledger. The agent derives everything in the kernel from this and from what it observes.
 */
import type { Ip } from './address.js'
import type { Name } from './names.js'

export type Protocol = 'tcp' | 'udp'
export type Stage = 'planned' | 'forwarding' | 'moving' | 'moved' | 'finalized'
/** Whether hosts have to do with a service: not before `up`, nor once it is finalized. */
export const isUnderWay = (stage: Stage): boolean => stage !== 'planned' && stage !== 'finalized'
export type TunnelDriver = 'openvpn' | 'wireguard-l2' | 'wireguard' | 'direct'

export interface HostSpec {
  fleet: Name
  /** This host's name in fleet.yaml. */
  host: Name
  /** Grows with every change; the agent refuses an older one, and the same one with other content. */
  generation: number
  tunnels: TunnelSpec[]
  services: ServiceSpec[]
  log?: HostLog
  /** Addresses that go from one host to the other as a whole (`address: move`). */
  addresses?: MovedAddress[]
}

/** What the agent writes down beside counts. Nothing asked for is an absent `log`. */
export interface HostLog {
  /** Who came by which address to which service, when and with how much: JSON lines under /var/lib/fleetmove. */
  connections?: true
  /** Where Prometheus finds figures: an absolute path ending in .prom (textfile collector), or unix:PATH.sock. */
  metrics?: string
}

/** Absolute, and nothing that climbs or could be taken for another kind of file. */
export const metricsPattern = /^(unix:(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)+\.sock|(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)+\.prom)$/

/**
 * What this host does with an address that is on its way:
 * - taken (new host): has it and answers for it. What belongs to a connection that it doesn't know goes to `aside`.
 * - silent (old host): has it and tells nobody, so that connections live on whose packets the other one hands over.
 *   The new host, too, while connections to it still stand that were opened by an address which it has given back.
 * - returned (old host): as it was found, but what belongs to a connection that it doesn't know goes to `aside`.
 * - settled (both): the address stays where it is, and is nothing of ours any more.
 */
export type MovedAddress =
  | { address: Ip; as: 'taken'; own: Ip; aside: Ip }
  | { address: Ip; as: 'returned'; aside: Ip }
  | { address: Ip; as: 'silent' | 'settled' }

/** Where a service's old addresses are: on the new host, or given back while connections to the new one still stand. */
export type AddressState = 'moved' | 'returning'

/** One end of the link to one peer. */
export interface TunnelSpec {
  /** 1 to 63, the same on both hosts: names the device, the mark, the table and the conntrack zone. */
  index: number
  peer: Name
  driver: TunnelDriver
  /** WireGuard only: in the kernel, or by the wireguard-go process. */
  userspace: boolean
  /** Who is the TLS server (OpenVPN) of the two. */
  role: 'server' | 'client'
  /** UDP port on both hosts. */
  port: number
  /** The peer's address in the outer network. */
  remote: Ip
  /** Of the tunnel device that carries the clients' packets, in bytes. */
  mtu: number
  /** Tunnel addresses of this end and of the peer: IPv4 in a /30, IPv6 in a /126. */
  local4: Ip
  peer4: Ip
  local6: Ip
  peer6: Ip
  /** WireGuard: the peer's public key, base64. OpenVPN: SHA-256 fingerprint of its certificate, AA:BB:…. Direct: ''. */
  peerIdentity: string
  /** Direct only: the device that is there already, else ''. */
  device: string
  /** All addresses of the peer, public and local: connections from them that come back need SNAT. */
  peerAddresses: Ip[]
  /** Where probes go: `port` is always forwarded to the peer, `port + 1` never is. */
  probe: { port: number; pairs: AddressPair[] }
  /** While the peer is silent new clients are refused at once; else they are left to try again. */
  unreachable?: 'reset'
}

/** An address of this host that clients use, and the peer's own address that it stands for. */
export interface AddressPair {
  local: Ip
  peer: Ip
}

export interface ServiceSpec {
  name: Name
  stage: Stage
  from: Name
  to: Name
  /** Where the process answers now. */
  active: Name
  /** While only some clients have been moved; routes are then split. */
  canary: Canary | null
  routes: ServiceRoute[]
  /** What this host forwards is forwarded for its own processes that connect to 127.0.0.1, too. */
  localhost?: true
  egress?: Egress
  /** The TCP port by which an upstream balancer checks the service is refused to it on this host. */
  dark?: { host: Name; port: number }
  /** Absent while its old addresses are as they were found. */
  address?: AddressState
  /** This host answers some of its listeners by itself, or is about to: with a redirect. */
  redirect?: Redirect
}

/** A process of ours that answers every HTTP request with a 308. */
export interface Redirect {
  /** TCP, where it listens: only what the dispatch translates reaches it. */
  port: number
  /** What the request's path is put behind: https://HOST[:PORT][/PATH], without a slash at its end. */
  to: string
}

/** Names that systemd and Docker take, and that no tool takes for an option. */
export const unitPattern = /^[A-Za-z0-9_][A-Za-z0-9:_.\\@-]{0,254}$/
export const containerPattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$/

/**
 * Connections that the service opens leave with the other host's address. On the host where it runs there is
 * one of `uid`, `source`, `unit`, `container` and `listeners`; on the other one none.
 */
export interface Egress {
  tunnel: number
  /** A user's name or number, as the host knows it. */
  uid?: string
  /** Canonical address/length: of containers. */
  source?: string
  /** A systemd unit, by its cgroup. */
  unit?: string
  /** A container's name or id: by its addresses, or its cgroup where it has no network of its own. */
  container?: string
  /** Whoever listens on the service's ports: by the cgroup of their unit, or by their users. */
  listeners?: true
}

/** Which clients the new host answers already, by whichever address they come. */
export interface Canary {
  /** Of a thousand client addresses, chosen by a hash of the address. */
  perMille: number
  /** Of that hash: the same on both hosts, another for each service. 32 bits. */
  seed: number
  /** Clients that go to the new host whatever their hash: canonical address/length. */
  prefixes: string[]
}

export type ServiceAction = ForwardAction | ServeAction | SplitAction | RedirectAction

/** What this host does with packets that open a connection to one address and port range. */
export interface ServiceRoute {
  protocol: Protocol
  /** As it stands on the host (behind one-to-one NAT: the local address). */
  address: Ip
  ports: { from: number; to: number }
  action: ServiceAction | PauseAction
  /**
   * While the service is in a gap: the rules that stand ready meanwhile, whatever `action` is just now. An agent's
   * own knowledge, which no message carries.
   */
  ready?: {
    /** Where the dispatch leads. */
    dispatched: ServiceAction
    /** Where it will lead when the service has moved. */
    standby: ServiceAction
  }
  /** The protocol opens further connections, of which its control connection tells. TCP only. */
  helper?: 'ftp'
}

/** Into the tunnel, to the peer's own address; `port` 0 keeps the client's port. */
export interface ForwardAction {
  kind: 'forward'
  tunnel: number
  to: Ip
  port: number
}

/** Answered here; `port` 0 where the process listens on the port that clients use. */
export interface ServeAction {
  kind: 'serve'
  port: number
}

/** Some clients one way and some the other, as the service's canary says. */
export interface SplitAction {
  kind: 'split'
  forward: Omit<ForwardAction, 'kind'>
  serve: Omit<ServeAction, 'kind'>
}

/**
 * Nobody answers now: opening packets are dropped, so that clients try again and aren't refused. Stands
 * behind the hold, which keeps them waiting, for what slips through or outlasts it.
 */
export interface PauseAction {
  kind: 'pause'
}

/** Answered by the service's `redirect`. TCP only. */
export interface RedirectAction {
  kind: 'redirect'
}

/** The way into the tunnel that a route has, if it has one. */
export function forwardOf(action: ServiceRoute['action']): Omit<ForwardAction, 'kind'> | undefined {
  if (action.kind === 'split') return action.forward
  return action.kind === 'forward' ? { tunnel: action.tunnel, to: action.to, port: action.port } : undefined
}

/** The way to a process on this host that a route has, if it has one. */
export function serveOf(action: ServiceRoute['action']): Omit<ServeAction, 'kind'> | undefined {
  if (action.kind === 'split') return action.serve
  return action.kind === 'serve' ? { port: action.port } : undefined
}
