/**
 * What the agent would observe on a host, from the facts that were collected before there is an agent.
 * Nothing of ours stands there: preflight refuses what could be taken for it. Pure.
 */
import type { Ip } from '../../proto/model/address.js'
import type { HostFacts } from '../../proto/model/facts.js'
import type { Observed } from '../kernel/observed.js'
import { readFirewalls } from './firewall/read-firewalls.js'

export const observedFromFacts = (facts: HostFacts): Observed => ({
  // Of links that aren't ours only the names matter.
  links: facts.links.map(({ name, mtu }) => ({ name, mtu, kind: '', up: true, vxlan: null })),
  addresses: facts.addresses.map(({ device, address, prefix }) => ({ device, ip: address as Ip, prefix })),
  routes: [],
  rules: [],
  uplinks: facts.defaultRoutes.map(({ family, device }) => ({ family, device })),
  sysctls: facts.sysctls,
  table: null,
  asides: [],
  wireguard: [],
  firewalls: readFirewalls(facts.firewalls),
  processes: {},
})
