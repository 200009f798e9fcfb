/**
 * Connections that were there before our table made the kernel track.
 *
 * Left alone, such a connection is picked up from whichever packet comes next. Picked up from the server's it
 * stands in the table the wrong way round, and since Linux 6.12 (nf_nat_used_tuple_new) such an entry doesn't
 * keep its client's port for itself; while nobody talks it has no entry at all. Either way a second connection
 * from that port, out of the tunnel, is not given another one and meets the first one's socket, or an entry
 * that looks like its own: its SYNs vanish. See docs/decisions/2026-11-21-adopt-connections.md.
 */
import { networkInterfaces } from 'node:os'
import { type Family, familyOf } from '../../proto/model/address.js'
import type { Conntrack, ConntrackEntry, NewConntrackEntry, Tuple } from '../kernel/conntrack.js'
import type { TcpState } from '../kernel/conntrack-tcp.js'
import {
  connectedSockets,
  listeningPorts,
  type StatefulSocket,
  type TcpSocket,
  type TcpSocketState,
} from '../kernel/sock-diag.js'
import { wayOf } from './service-flows.js'

export interface Adopted {
  /** Had no entry, and have one now. */
  entered: number
  /** Stood the wrong way round. */
  turned: number
  /** Stood the wrong way round, and have ended. */
  forgotten: number
  /** Have none still: the table is full. */
  refused: number
}

const mostTries = 20
/** A busy server may have 100,000 sockets in TIME-WAIT, for a minute at most. */
const mostResting = 10_000

/**
 * Sees to it that every TCP connection to a listening port of this host has an entry from the client to the
 * server. To be called when our table is new, before anything comes out of a tunnel. Those opened since have one.
 */
export async function adopt(conntrack: Conntrack): Promise<Adopted> {
  // The sockets first: one that isn't among them was opened while the kernel tracked already.
  const sockets = await serverSockets()
  const entries: ConntrackEntry[] = []
  await conntrack.walk({ protocol: 'tcp' }, (entry) => entries.push(entry))
  const { missing, ended } = missingEntries(sockets.connected, entries, sockets.ports, localAddresses())
  for (const entry of ended) await conntrack.delete(entry)
  let left = order(missing)
  let refused = 0
  // Between a deletion and what stands in its place a packet of the server's may be quicker; twice is rare.
  for (let tries = 0; left.length > 0 && tries < mostTries; tries++) {
    for (const { reversed } of left) if (reversed) await conntrack.delete(reversed)
    const outcomes = await conntrack.insert(left.map(({ wanted }) => wanted))
    refused += outcomes.filter((outcome) => outcome === 'refused').length
    const taken: Missing[] = []
    for (const { wanted } of left.filter((_, i) => outcomes[i] === 'taken')) {
      const reversed = await conntrack.find('tcp', wanted.reply)
      if (reversed && keyOf(reversed.original) === keyOf(wanted.reply)) taken.push({ wanted, reversed })
    }
    left = taken
  }
  await forgetClosed(
    conntrack,
    missing.map(({ wanted }) => wanted).filter(({ tcpState }) => tcpState === 'established'),
  )
  const turned = missing.filter(({ reversed }) => reversed).length
  return { entered: missing.length - turned, turned, forgotten: ended.length, refused: refused + left.length }
}

/** What is still talked in first. */
function order(missing: readonly Missing[]): Missing[] {
  const isResting = ({ wanted }: Missing): boolean => wanted.tcpState === 'time-wait'
  return [...missing.filter((each) => !isResting(each)), ...missing.filter(isResting).slice(0, mostResting)]
}

/** What was closed between the look at the sockets and its entry would stay established for days. */
async function forgetClosed(conntrack: Conntrack, lasting: readonly NewConntrackEntry[]): Promise<void> {
  if (lasting.length === 0) return
  const living = new Set((await connectedSockets()).map(socketKey))
  for (const { reply } of lasting) {
    if (living.has(keyOf(reply))) continue
    const found = await conntrack.find('tcp', reply)
    if (found?.tcpState === 'established') await conntrack.delete(found)
  }
}

interface Missing {
  wanted: NewConntrackEntry
  /** What stands in its place. */
  reversed: ConntrackEntry | undefined
}

/**
 * Pure part of `adopt`.
 * @param sockets connections to listening ports of this host
 * @param ports where it listens
 * @param local this host's own addresses
 * @returns `missing`: to be put in; `ended`: the wrong way round, of sockets that are gone
 */
export function missingEntries(
  sockets: readonly StatefulSocket[],
  entries: readonly ConntrackEntry[],
  ports: ReadonlySet<number>,
  local: ReadonlySet<string>,
): { missing: Missing[]; ended: ConntrackEntry[] } {
  const answers = new Set<string>()
  const reversed = new Map<string, ConntrackEntry>()
  for (const entry of entries) {
    answers.add(keyOf(entry.reply))
    const { source, sourcePort } = entry.original
    if (wayOf(entry.mark).way === 'direct' && isUntranslated(entry) && ports.has(sourcePort) && local.has(source))
      reversed.set(keyOf(entry.original), entry)
  }
  const missing: Missing[] = []
  for (const socket of sockets) {
    const key = socketKey(socket)
    const found = reversed.get(key)
    reversed.delete(key)
    // A reply bears what the socket has, whatever was translated.
    if (!found && answers.has(key)) continue
    // Connections of the host with itself are tracked from their beginning to their end in one place.
    if (local.has(socket.remote)) continue
    missing.push({ wanted: entryOf(socket, found), reversed: found })
  }
  return { missing, ended: [...reversed.values()].filter((entry) => !local.has(entry.original.destination)) }
}

/** How the kernel's tracking calls what a server's socket has seen, and for how long it would remember, in s. */
const states: Record<TcpSocketState, { tcpState: TcpState; timeout: number }> = {
  established: { tcpState: 'established', timeout: 432_000 },
  'fin-wait-1': { tcpState: 'fin-wait', timeout: 120 },
  'fin-wait-2': { tcpState: 'close-wait', timeout: 60 },
  'close-wait': { tcpState: 'close-wait', timeout: 60 },
  'last-ack': { tcpState: 'last-ack', timeout: 30 },
  closing: { tcpState: 'last-ack', timeout: 30 },
  'time-wait': { tcpState: 'time-wait', timeout: 60 },
}

function entryOf(socket: StatefulSocket, reversed: ConntrackEntry | undefined): NewConntrackEntry {
  const reply: Tuple = {
    source: socket.local,
    sourcePort: socket.localPort,
    destination: socket.remote,
    destinationPort: socket.remotePort,
  }
  const original: Tuple = {
    source: reply.destination,
    sourcePort: reply.destinationPort,
    destination: reply.source,
    destinationPort: reply.sourcePort,
  }
  const { tcpState, timeout } = reversed?.tcpState
    ? { tcpState: reversed.tcpState, timeout: reversed.timeout }
    : states[socket.state]
  return { family: familyOf(socket.local) as Family, original, reply, mark: reversed?.mark ?? 0, tcpState, timeout }
}

async function serverSockets(): Promise<{ connected: StatefulSocket[]; ports: Set<number> }> {
  const ports = await listeningPorts()
  return { connected: (await connectedSockets()).filter((socket) => ports.has(socket.localPort)), ports }
}

const localAddresses = (): Set<string> =>
  new Set(Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map(({ address }) => address)))

const isUntranslated = ({ original, reply }: ConntrackEntry): boolean =>
  original.source === reply.destination &&
  original.destination === reply.source &&
  original.sourcePort === reply.destinationPort &&
  original.destinationPort === reply.sourcePort

const keyOf = ({ source, sourcePort, destination, destinationPort }: Tuple): string =>
  `${source} ${sourcePort} ${destination} ${destinationPort}`
/** As the answers of this socket go. */
const socketKey = ({ local, localPort, remote, remotePort }: TcpSocket): string =>
  `${local} ${localPort} ${remote} ${remotePort}`
