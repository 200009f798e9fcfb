/**
 * What fleet.yaml says, checked: names and addresses are branded, defaults filled in, durations in
 * milliseconds, and every reference from one part to another holds. Made only by load-fleet.ts.
 */
import type { Ip } from '../../proto/model/address.js'
import type { Protocol, TunnelDriver } from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'

export interface Fleet {
  readonly name: Name
  /** In the file's order, as are services and vantages. */
  readonly hosts: ReadonlyMap<Name, Host>
  readonly tunnel: Tunnel
  readonly dns: DnsSettings
  readonly log?: FleetLog
  readonly services: ReadonlyMap<Name, Service>
  readonly vantages: ReadonlyMap<Name, Vantage>
}

export interface FleetLog {
  /** Who came by which address to which service; absent: as it stands on the hosts (`up --log-connections`). */
  readonly connections?: boolean
  /** As in HostLog. */
  readonly metrics?: string
}

export interface Host {
  readonly name: Name
  /** `[user@]host[:port]` as written; `parseSshTarget` in ssh/ssh-target.ts takes it apart. */
  readonly ssh: string
  readonly become: 'none' | 'sudo'
  /** The addresses that clients use, at least one. */
  readonly addresses: readonly HostAddress[]
  /** Driver `direct`: this host's address on the link that is there already. */
  readonly direct: Ip | undefined
}

export interface HostAddress {
  readonly public: Ip
  /** The address that the host itself has; undefined: to be found out (`resolveLocals` in plan/addressing.ts). */
  readonly local: Ip | undefined
}

export interface Tunnel {
  /** UDP, on both hosts. */
  readonly port: number
  readonly driver: TunnelDriver | 'auto'
  /** What new clients get while the tunnel is down: hold leaves them to try again, reset refuses them at once. */
  readonly unreachable: 'hold' | 'reset'
}

export interface DnsSettings {
  /** Whom to ask; undefined: this machine's own resolvers and well-known public ones. */
  readonly resolvers: readonly NameServer[] | undefined
  /** What a record's time to live is lowered to before it is changed. */
  readonly ttlSeconds: number
  /** How records are changed; undefined: by the operator alone. */
  readonly means:
    | { readonly kind: 'update'; readonly server: NameServer | undefined; readonly key: string }
    | { readonly kind: 'hook'; readonly command: string }
    | undefined
}

export interface NameServer {
  readonly ip: Ip
  readonly port: number
}

export interface Service {
  readonly name: Name
  readonly from: Name
  readonly to: Name
  readonly listen: readonly ServiceListener[]
  /** Which old address becomes which new one; undefined: in order, by family. `addressPairs` applies it. */
  readonly addresses: readonly AddressMapping[] | undefined
  /** Once the service has moved its old addresses go over to the new host, which is on the same segment. */
  readonly movesAddress: boolean
  /** rolling: both sides may run at once; recreate: never two at once (then there is a lifecycle). */
  readonly strategy: 'rolling' | 'recreate'
  /** The longest that new clients may be kept waiting, in milliseconds. */
  readonly holdMs: number
  /** The longest that established clients are waited for, in milliseconds. */
  readonly drainMs: number
  /** What becomes of clients that are still there after that time. */
  readonly drainThen: 'reset' | 'leave'
  /** Once it has moved, its old host answers these TCP ports with a 308 instead of forwarding them. */
  readonly redirect: { readonly to: string; readonly ports: readonly number[] } | undefined
  /** How the service is started and stopped; undefined: it is left running on both sides. */
  readonly lifecycle: Lifecycle | undefined
  readonly health: Health
  /** Services move in ascending order of waves; 1 or more. */
  readonly wave: number
  /** Domain names in lower case without the last dot, by which clients find the service. */
  readonly names: readonly string[]
  /** Services that must have moved before this one; without cycles, and in no later wave. */
  readonly after: readonly Name[]
  /** Absolute paths that are copied from old to new. */
  readonly data: readonly string[]
  /** Connections that the service opens leave with this host's address: its old or new host. */
  readonly egress: Name | undefined
  /** Which connections those are; there when `egress` is. */
  readonly egressFrom: EgressSource | undefined
  /** Processes of the old host that connect to the service at 127.0.0.1 reach it after the move, too. */
  readonly localhost: boolean
  readonly hooks: Hooks
  /** The TCP port by which an upstream balancer asks whether to send clients to a host. */
  readonly check: number | undefined
}

export interface ServiceListener {
  readonly protocol: Protocol
  /** As clients see them, inclusive. */
  readonly ports: { readonly from: number; readonly to: number }
  /** Where the process listens on the old and the new host; undefined: on the client's port. Never with a range. */
  readonly oldPort: number | undefined
  readonly newPort: number | undefined
  /** The kernel's tracking of FTP, whose data connections come and go at any port. */
  readonly helper: 'ftp' | undefined
}

/** Public addresses: `old` is one of the old host's, `new` one of the new host's, of the same family. */
export interface AddressMapping {
  readonly old: Ip
  readonly new: Ip
}

/** Of a user's processes, from a prefix, of a systemd unit, of a container, or of whoever listens on its ports. */
export type EgressSource =
  | { readonly kind: 'uid'; readonly uid: string }
  | { readonly kind: 'source'; readonly source: string }
  | { readonly kind: 'unit'; readonly unit: string }
  | { readonly kind: 'container'; readonly container: string }
  | { readonly kind: 'listeners'; readonly listeners: true }

export type Lifecycle =
  | { readonly kind: 'unit'; readonly unit: string }
  | { readonly kind: 'container'; readonly container: string }
  | { readonly kind: 'compose'; readonly composeFile: string; readonly composeService: string }
  | { readonly kind: 'run'; readonly start: string; readonly stop: string }

/** tcp: every TCP listener takes a connection (nothing to ask of a service that has none). */
export type Health =
  | { readonly kind: 'tcp' }
  | { readonly kind: 'http'; readonly url: string }
  | { readonly kind: 'command'; readonly command: string }

/** Shell commands of the operator's. */
export interface Hooks {
  readonly beforeMove: string | undefined
  readonly afterMove: string | undefined
  readonly onRollback: string | undefined
}

export interface Vantage {
  readonly name: Name
  readonly ssh: string
}
