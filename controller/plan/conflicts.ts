/**
 * Numbers, names and ports that others on a host use and that we need, and what on it can't live with the move:
 * known before anything is changed. Pure.
 */
import type { Ip } from '../../proto/model/address.js'
import type { HostFacts } from '../../proto/model/facts.js'
import type { Problem } from './preflight.js'
import { probePort, tunnelPort } from './tunnel-pair.js'

export interface ConflictsInput {
  host: string
  facts: HostFacts
  /** fleet.yaml's tunnel.port */
  port: number
  /** How many tunnels the host is going to have. */
  tunnels: number
  /** Of its services, as they stand on its devices. */
  addresses: readonly Ip[]
  /** TCP ports at which it is going to answer with redirects. */
  redirects?: readonly number[]
}

/** The agent's own (agent/plan/own.ts), which the controller never sees. */
const own = { priority: 5180, firstTable: 5181, lastTable: 5243, protocol: '146', table: 'inet fleetmove' } as const
const ourMarks = 0xff000000

/** Nothing where fleetmove stands already: there, what looks like ours is ours. */
export function conflicts({ host, facts, port, tunnels, addresses, redirects = [] }: ConflictsInput): Problem[] {
  if (facts.installed.directory || facts.installed.socket) return []
  const problem = (message: string, hint: string): Problem => ({ host, message, hint })
  return [
    ...facts.inUse.rules.flatMap(({ family, priority, mark, table, protocol, text }) => {
      const uses = [
        ...(priority === own.priority ? [`the priority ${priority}`] : []),
        ...(isOurMark(mark) ? [`a mark in the byte 0x${ourMarks.toString(16)}`] : []),
        ...(isOurTable(Number(table)) ? [`the table ${table}`] : []),
      ]
      if (uses.length === 0) return []
      const left = protocol === own.protocol ? ', left by an earlier fleetmove' : ''
      return [
        problem(
          `an IPv${family} routing rule uses ${uses.join(' and ')}, which fleetmove needs${left}: ${text}`,
          `Give it other numbers, or delete it: ip -${family} rule del priority ${priority} ${text}`,
        ),
      ]
    }),
    ...facts.inUse.routes.map((route) =>
      problem(
        `a routing table between ${own.firstTable} and ${own.lastTable}, which fleetmove needs, has a route already: ${route}`,
        'Move that route to a table of another number, or delete it.',
      ),
    ),
    ...facts.inUse.marks
      .filter(({ bits }) => isOurMark(bits))
      .map(({ text }) =>
        problem(
          `a firewall rule uses marks in the byte 0x${ourMarks.toString(16)}, which fleetmove needs: ${text}`,
          'Let it use lower bits of the mark, and a mask that leaves the others alone.',
        ),
      ),
    ...facts.links.flatMap(({ name }) => {
      const owner = markingDevices.find(({ device }) => device === name)?.owner
      if (owner === undefined) return []
      return [
        problem(
          `${owner} runs here (device ${name}): its eBPF programs write the byte 0x${ourMarks.toString(16)} of packets' marks, which fleetmove needs, where no firewall shows it`,
          'Move services from or to a host that is no node of that cluster.',
        ),
      ]
    }),
    ...addresses.flatMap((address) => {
      const device = facts.addresses.find((each) => each.address === address)?.device
      const vrf = vrfOf(facts, device)
      if (vrf === undefined) return []
      return [
        problem(
          `${address} is in the VRF ${vrf} (device ${device}): packets out of the tunnel, which is in none, can't reach it`,
          'Move the service by an address outside of VRFs, or take the device out of it for the time of the move.',
        ),
      ]
    }),
    ...[...portsOf(port, tunnels), ...redirects.map(ofRedirect)].flatMap(({ protocol, number, what }) => {
      const taken = facts.inUse.listeners.find((each) => each.protocol === protocol && each.port === number)
      if (!taken) return []
      return [
        problem(
          `${protocol.toUpperCase()} port ${number}, which fleetmove needs for ${what}, is in use${taken.process === '' ? '' : ` by ${taken.process}`}`,
          'Choose another with `tunnel: { port: … }` in fleet.yaml; the ports of probes lie 1000 above it, those of redirects 2000.',
        ),
      ]
    }),
    ...facts.links
      .filter(({ name }) => /^fmw?\d{1,2}$/.test(name))
      .map(({ name }) =>
        problem(
          `there is a device ${name} already, whose name fleetmove needs`,
          `Look at it (ip -d link show ${name}), and rename or remove it.`,
        ),
      ),
    ...facts.inUse.nftTables
      .filter((table) => table === own.table)
      .map((table) =>
        problem(
          `there is a table ${table} in nftables already, and no agent that it could belong to`,
          `Look at it (nft list table ${table}); if nobody needs it: nft delete table ${table}`,
        ),
      ),
    ...facts.ownedTables.map((table) =>
      problem(
        `the nftables table ${table} belongs to the program that made it (flags owner): nobody else can put a rule into it, and what it drops stays dropped`,
        table === 'inet firewalld'
          ? 'Set NftablesTableOwner=no in /etc/firewalld/firewalld.conf, then: firewall-cmd --reload. fleetmove adds and removes its rules itself.'
          : `Let that program accept, in its chains at input and forward: ct mark & 0x${ourMarks.toString(16)} != 0, and UDP port ${port}`,
      ),
    ),
  ]
}

/** Cilium: identities in bits 16 to 31 (its linux_defaults/mark.go); Calico with eBPF: bits 20 and up. */
const markingDevices = [
  { device: 'cilium_host', owner: 'Cilium' },
  { device: 'bpfin.cali', owner: 'Calico with eBPF' },
  { device: 'bpfnatin', owner: 'Calico with eBPF' },
] as const

/** The VRF that a device is or belongs to, perhaps through a bridge or a bond. */
function vrfOf(facts: HostFacts, device: string | undefined): string | undefined {
  if (device === undefined || facts.vrfs.includes(device)) return device
  const master = facts.links.find(({ name }) => name === device)?.master
  return master ? vrfOf(facts, master) : undefined
}

const isOurMark = (mark: number): boolean => (mark & ourMarks) !== 0
const isOurTable = (table: number): boolean => table >= own.firstTable && table <= own.lastTable

interface NeededPort {
  protocol: 'tcp' | 'udp'
  number: number
  what: string
}

const ofRedirect = (number: number): NeededPort => ({ protocol: 'tcp', number, what: 'a redirect' })

const portsOf = (base: number, tunnels: number): NeededPort[] =>
  Array.from({ length: tunnels }, (_, i) => i + 1).flatMap((index): NeededPort[] => [
    { protocol: 'udp', number: tunnelPort(base, index), what: 'the tunnel' },
    ...(['tcp', 'udp'] as const).flatMap((protocol) =>
      [0, 1].map((offset) => ({ protocol, number: probePort(base, index) + offset, what: 'probes' })),
    ),
  ])
