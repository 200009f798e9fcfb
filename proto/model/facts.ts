/**
 * What a host says about itself before anything is changed on it. Text comes from the host as it
 * stands and is not trusted: an address goes through `parseIp` before it is put anywhere.
 */

/** `unknown`: the host lacks what is needed to find out (unshare, ip, nft), or isn't root. */
export type Availability = 'yes' | 'no' | 'unknown'

export interface Feature {
  available: Availability
  /** Why not, in the words of the tool that refused; else ''. */
  reason: string
}

export const toolNames = [
  'nft',
  'ip',
  'openvpn',
  'wg',
  'wireguard-go',
  'conntrack',
  'rsync',
  'gzip',
  'tar',
  'sha256sum',
  'setsid',
  'unshare',
  'perl',
  'python3',
] as const
export type ToolName = (typeof toolNames)[number]

export interface Tool {
  path: string
  /** As the tool prints it (`1.0.6`), '' where it doesn't say. */
  version: string
}

export interface HostAddress {
  device: string
  address: string
  prefix: number
  /** `global`, `link`, `host` or `site`, as in ip-address(8). */
  scope: string
}

export interface DefaultRoute {
  family: 4 | 6
  device: string
  /** '' for a route without a gateway (point to point). */
  gateway: string
}

export interface LinkFact {
  name: string
  mtu: number
  /** The bridge, bond or VRF that it is part of; '' for none. */
  master: string
}

/** A routing rule: `ip rule`. */
export interface RuleFact {
  family: 4 | 6
  priority: number
  /** 0: none. */
  mark: number
  /** A number or a name. */
  table: string
  /** Routing protocol number or name, '' where it isn't shown. */
  protocol: string
  text: string
}

export interface ListenerFact {
  protocol: 'tcp' | 'udp'
  port: number
  /** '' where the kernel itself has it, or it isn't known. */
  process: string
}

/** What the host's own tools print about its firewalls; the agent reads it. */
export interface FirewallTexts {
  /** `nft -j -t list ruleset FAMILY` */
  nft: string[]
  /** `iptables-save -t filter` of each kind that is in use, by the command that writes it. */
  iptables: { command: string; text: string }[]
}

/** The few that are needed to speak with an agent that runs, and to know the host's addresses. */
export type BasicFacts = Pick<HostFacts, 'arch' | 'addresses' | 'defaultRoutes' | 'installed'>

export interface HostFacts {
  hostname: string
  /** `uname -s`: Linux. */
  system: string
  kernel: { release: string; major: number; minor: number }
  /** `uname -m`: x86_64, aarch64, … */
  arch: string
  libc: { kind: 'glibc' | 'musl' | 'unknown'; version: string }
  /** The user id that privileged commands run with: 0, or nothing else will work. */
  uid: number
  /** From os-release(5): ID, ID_LIKE, VERSION_ID, PRETTY_NAME. */
  os: { id: string; like: string[]; version: string; name: string }
  /** systemd is the init that runs (sd_booted(3)). */
  systemd: boolean
  tools: Partial<Record<ToolName, Tool>>
  /** /dev/net/tun can be opened. */
  tun: Feature
  /** The kernel makes links of this type; tried in a scratch network namespace. */
  wireguard: Feature
  vxlan: Feature
  /** nf_tables expressions that the ruleset is built of; each tried in a scratch network namespace. */
  nft: { inetNat: Feature; originalZone: Feature; fib: Feature; concatMap: Feature }
  /** How packets that open a connection could be kept waiting: queued by nf_tables, or by iptables and ip6tables. */
  queue: { nft: Feature; xtables: Feature }
  /** Of those under net.ipv4.conf and net.ipv6.conf that forwarding concerns: full key → value. */
  sysctls: Record<string, string>
  addresses: HostAddress[]
  defaultRoutes: DefaultRoute[]
  links: LinkFact[]
  /** Devices that are VRFs (ip-vrf(8)). */
  vrfs: string[]
  /** Free for root, in KiB; undefined where df says nothing. */
  disk: { usrLocalKib: number | undefined; varLibKib: number | undefined }
  bootId: string
  /** The host's clock when it answered, in milliseconds since 1970. */
  clockMs: number
  /** Entries in the connection tracking table and its limit; undefined where nothing tracks yet. */
  conntrack: { count: number; max: number } | undefined
  /** Numbers and names that others use, and that could be ours. */
  inUse: {
    rules: RuleFact[]
    /** Of the routing tables that ours are among, those that have routes: one of each, as ip(8) shows it. */
    routes: string[]
    listeners: ListenerFact[]
    /** Rules of firewalls that have to do with marks: one of each set of bits that are written or looked for. */
    marks: { bits: number; text: string }[]
    /** `inet NAME` */
    nftTables: string[]
  }
  /** Chains with policy drop, as their tools name them: `iptables FORWARD`, `nftables inet filter input`. */
  policyDrops: string[]
  /** Tables of nftables that filter, and that only the program that made them can change: `inet NAME`. */
  ownedTables: string[]
  firewalls: FirewallTexts
  installed: {
    /** /usr/local/lib/fleetmove is there. */
    directory: boolean
    /** /run/fleetmove/agent.sock is there. */
    socket: boolean
    /** /var/lib/fleetmove/ledger.json is there: an agent has changed something, or was about to. */
    ledger: boolean
    /** First 16 hex digits of the hash of the agent that runs, '' when none does. */
    runningAgent: string
    /** The same of the runtime that it runs on. */
    runningRuntime: string
  }
}
