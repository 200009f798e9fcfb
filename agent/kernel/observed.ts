/** What stands in this host's kernel now: what is ours, and what we need to know of the rest. */
import type { Family, Ip } from '../../proto/model/address.js'
import type { AddressSpec, RouteSpec, RuleSpec } from '../plan/desired.js'
import type { ForeignChain } from '../plan/firewall/chain.js'
import type { Overrides } from '../plan/overrides.js'

export interface Observed {
  /** Every link of the namespace. */
  links: ObservedLink[]
  /** Every address of the namespace. */
  addresses: AddressSpec[]
  /** Routes with our protocol number, in any table. */
  routes: RouteSpec[]
  /** Rules with our protocol number. */
  rules: RuleSpec[]
  /** Default routes of the main table: where clients' packets come in. */
  uplinks: { family: Family; device: string }[]
  /** Of the keys that were asked for; a key that doesn't exist is absent. */
  sysctls: Record<string, string>
  table: ObservedTable | null
  /** Our tables of the families ip and ip6. */
  asides: ObservedAside[]
  wireguard: ObservedWireguard[]
  /** Chains of other firewalls, with our rules in them. */
  firewalls: ForeignChain[]
  /** Processes of ours, alive: name → fingerprint of what they were started with. */
  processes: Record<string, string>
}

export interface ObservedLink {
  name: string
  /** wireguard, vxlan, tun (for tap), veth, bridge… ; '' where the kernel names none. */
  kind: string
  mtu: number
  up: boolean
  vxlan: { vni: number; local: Ip | null; remote: Ip | null; port: number } | null
}

export interface ObservedTable {
  /** null: a table of our name without our fingerprint. */
  fingerprint: string | null
  chains: string[]
  counters: string[]
  /** How many rules each chain has, and how many elements each map of the dispatch. */
  rules: Record<string, number>
  elements: Record<string, number>
  overrides: Overrides
}

export interface ObservedAside {
  family: Family
  /** null: a table of our name without our fingerprint. */
  fingerprint: string | null
  rules: number
}

export interface ObservedWireguard {
  name: string
  listenPort: number
  peers: { publicKey: string; endpoint: string | null; allowedIps: string[] }[]
}
