/**
 * Numbers, names and ports that others on a host use and that we need, and firewalls that can't be told to
 * let the move pass: known before anything is changed. Pure.
 */
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
}

/** The agent's own (agent/plan/own.ts), which the controller never sees. */
const own = { priority: 5180, firstTable: 5181, lastTable: 5243, protocol: '146', table: 'inet fleetmove' } as const
const ourMarks = 0xff000000

/** Nothing where fleetmove stands already: there, what looks like ours is ours. */
export function conflicts({ host, facts, port, tunnels }: ConflictsInput): Problem[] {
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
      .filter(({ value }) => isOurMark(value))
      .map(({ text }) =>
        problem(
          `a firewall rule uses marks in the byte 0x${ourMarks.toString(16)}, which fleetmove needs: ${text}`,
          'Let it use lower bits of the mark.',
        ),
      ),
    ...portsOf(port, tunnels).flatMap(({ protocol, number, what }) => {
      const taken = facts.inUse.listeners.find((each) => each.protocol === protocol && each.port === number)
      if (!taken) return []
      return [
        problem(
          `${protocol.toUpperCase()} port ${number}, which fleetmove needs for ${what}, is in use${taken.process === '' ? '' : ` by ${taken.process}`}`,
          'Choose another with `tunnel: { port: … }` in fleet.yaml; the ports of probes lie 1000 above it.',
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

const isOurMark = (mark: number): boolean => (mark & ourMarks) !== 0
const isOurTable = (table: number): boolean => table >= own.firstTable && table <= own.lastTable

interface NeededPort {
  protocol: 'tcp' | 'udp'
  number: number
  what: string
}

const portsOf = (base: number, tunnels: number): NeededPort[] =>
  Array.from({ length: tunnels }, (_, i) => i + 1).flatMap((index): NeededPort[] => [
    { protocol: 'udp', number: tunnelPort(base, index), what: 'the tunnel' },
    ...(['tcp', 'udp'] as const).flatMap((protocol) =>
      [0, 1].map((offset) => ({ protocol, number: probePort(base, index) + offset, what: 'probes' })),
    ),
  ])
