/**
 * Everything of ours that should stand in this host's kernel, whole, each time. `derive` makes it from
 * the host spec; `difference` compares it with what is observed and gives steps. Nothing here is
 * ordered: the order of the work is decided in difference.ts alone.
 */
import type { Family, Ip } from '../../proto/model/address.js'
import type { FirewallRule } from './firewall/allow.js'
import type { Overrides } from './overrides.js'

export interface Desired {
  links: LinkSpec[]
  processes: ProcessSpec[]
  addresses: AddressSpec[]
  routes: RouteSpec[]
  rules: RuleSpec[]
  /** Full key → value. What was found under a key is kept in the ledger and put back. */
  sysctls: Record<string, string>
  /** In chains of other firewalls that would drop what is ours. */
  firewall: FirewallRule[]
  /** Addresses of the host's own devices that come and go. */
  moved: MovedPieces
  /** null: no table of ours. */
  ruleset: Ruleset | null
}

export type LinkSpec = WireguardLink | VxlanLink | TapLink | ExistingLink

/** Made in the kernel, or by a wireguard-go process of the same name where `userspace`. */
export interface WireguardLink {
  kind: 'wireguard'
  name: string
  mtu: number
  userspace: boolean
  listenPort: number
  peer: { publicKey: string; endpoint: { address: Ip; port: number }; allowedIps: string[] }
}

export interface VxlanLink {
  kind: 'vxlan'
  name: string
  /** aa:bb:… */
  mac: string
  mtu: number
  vni: number
  local: Ip
  remote: Ip
  port: number
  /** The device that it rides on. */
  under: string
}

/** A persistent tap device, so that addresses and routes outlive the OpenVPN process that serves it. */
export interface TapLink {
  kind: 'tap'
  name: string
  /** aa:bb:… */
  mac: string
  mtu: number
}

/** There already and not ours: never made, changed or removed. */
export interface ExistingLink {
  kind: 'existing'
  name: string
}

/** A process of ours that must outlive the agent. Found again by its pid file and its start time. */
export interface ProcessSpec {
  /** Names the pid file, the log and the configuration under /run/fleetmove. */
  name: string
  argv: string[]
  env: Record<string, string>
  /** Written (0600) before the start; a running process with other content is replaced. */
  config: { path: string; content: string } | null
}

export interface AddressSpec {
  device: string
  ip: Ip
  prefix: number
  broadcast?: Ip
  /** Where it isn't the device's name. */
  label?: string
  /** The kernel makes no route for its network. */
  noPrefixRoute?: true
  /** It ends by itself: a lease, or from a router advertisement. */
  dynamic?: true
  /** IPv4, of scope host: with arp_ignore 3 nobody is told of it. */
  silent?: true
  /** IPv6, deprecated (RFC 4862, 5.5.4): not chosen for connections that this host opens. */
  idle?: true
}

export interface RouteSpec {
  family: Family
  table: number
  kind: 'unicast' | 'blackhole'
  /** Only 0.0.0.0/0 and ::/0 are ever needed in our tables. */
  device: string | null
  via: Ip | null
  metric: number
}

export interface RuleSpec {
  family: Family
  priority: number
  mark: number
  mask: number
  table: number
}

/** One table of ours as text for `nft -f`. */
export interface Ruleset {
  /** Of the whole text; stands in a rule's comment, since nft rewrites text when it lists it. */
  fingerprint: string
  /** Names of chains, maps and counters that the text declares, to find the ones to delete. */
  chains: string[]
  counters: string[]
  /** What the kernel holds when the text is loaded: rules of each chain, elements of each map of the dispatch. */
  rules: Record<string, number>
  elements: Record<string, number>
  /** No part of the fingerprint: they change by themselves, without the text. */
  overrides: Overrides
  text: string
  /** Names of the chains that hang in netfilter's hooks, and of those that tunnels need. */
  frame: string[]
  /** Enough where the observed table has the same frame. */
  servicesText: string
}

/** See moved-addresses.ts. */
export interface MovedPieces {
  /** On the uplink, and announced. */
  taken: AddressSpec[]
  /** On lo, and nowhere else. */
  silent: AddressSpec[]
  /** Ours no more; they stay where they are. */
  settled: Ip[]
  asides: AsideTable[]
}

/** A table of ours of the family ip or ip6 (asides.ts). */
export interface AsideTable {
  family: Family
  /** Of the text; stands in a rule's comment. */
  fingerprint: string
  /** How many rules the kernel holds when the text is loaded. */
  rules: number
  /** Replaces the whole table, in one transaction. */
  text: string
}
