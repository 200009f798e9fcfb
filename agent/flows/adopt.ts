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
import type { Conntrack, ConntrackEntry, NewConntrackEntry, TcpState, Tuple } from '../kernel/conntrack.js'
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
}

/** Between a deletion and what stands in its place a packet of the server's may be quicker; twice is rare. */
const mostTries = 20
/** An entry takes 0.1 ms, and a busy server may have 100,000 sockets in TIME-WAIT, for a minute at most. */
const mostResting = 20_000

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
  const result: Adopted = { entered: 0, turned: 0, forgotten: 0 }
  for (const entry of ended) if (await conntrack.delete(entry)) result.forgotten += 1
  for (const { wanted, reversed } of order(missing)) {
    if (await place(conntrack, wanted, reversed)) result[reversed ? 'turned' : 'entered'] += 1
  }
  await forgetClosed(
    conntrack,
    missing.map(({ wanted }) => wanted),
  )
  return result
}

/** What is still talked in first. */
function order(missing: readonly Missing[]): Missing[] {
  const isResting = ({ wanted }: Missing): boolean => wanted.tcpState === 'time-wait'
  return [...missing.filter((each) => !isResting(each)), ...missing.filter(isResting).slice(0, mostResting)]
}

/** @returns false where the connection was there already by then, the right way round. */
async function place(
  conntrack: Conntrack,
  wanted: NewConntrackEntry,
  reversed: ConntrackEntry | undefined,
): Promise<boolean> {
  let inTheWay = reversed
  for (let tries = 0; tries < mostTries; tries++) {
    if (inTheWay) await conntrack.delete(inTheWay)
    if (await conntrack.insert(wanted)) return true
    inTheWay = undefined
    // Picked up meanwhile: from the client's packet, or from the server's.
    const destination = { address: wanted.reply.destination, port: wanted.reply.destinationPort }
    await conntrack.walk({ protocol: 'tcp', destination }, (entry) => {
      if (isUntranslated(entry) && keyOf(entry.original) === keyOf(wanted.reply)) inTheWay = entry
    })
    if (!inTheWay) return false
  }
  return false
}

/** What was closed between the look at the sockets and its entry would stay established for days. */
async function forgetClosed(conntrack: Conntrack, placed: readonly NewConntrackEntry[]): Promise<void> {
  const lasting = placed.filter((entry) => entry.tcpState === 'established')
  if (lasting.length === 0) return
  const living = new Set((await connectedSockets()).map(socketKey))
  for (const entry of lasting) {
    if (living.has(keyOf(entry.reply))) continue
    const doomed: ConntrackEntry[] = []
    const destination = { address: entry.original.destination, port: entry.original.destinationPort }
    await conntrack.walk({ protocol: 'tcp', destination }, (found) => {
      if (found.tcpState === 'established' && keyOf(found.reply) === keyOf(entry.reply)) doomed.push(found)
    })
    for (const found of doomed) await conntrack.delete(found)
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
