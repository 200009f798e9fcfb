/**
 * Connection tracking outlives the table that made the kernel track: what is in it then hears of no
 * packet any more and stays "established" for days. A client that uses such a port again would follow
 * the dead entry and not the rules.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { forwardOf, type ServiceSpec, serveOf } from '../../proto/model/host-spec.js'
import type { Conntrack, ConntrackEntry } from '../kernel/conntrack.js'
import { establishedSockets, type TcpSocket } from '../kernel/sock-diag.js'
import { isRedirected, routeOf, wayOf } from './service-flows.js'

const pollMs = 100

/**
 * Deletes everything that bears our mark: to be called when our table is gone, which was all that
 * these connections lived by.
 * @returns how many were deleted
 */
export async function forgetMarked(conntrack: Conntrack): Promise<number> {
  const doomed: ConntrackEntry[] = []
  await conntrack.walk({}, (entry) => {
    if (wayOf(entry.mark).way !== 'direct') doomed.push(entry)
  })
  return deleteAll(conntrack, doomed)
}

/**
 * Waits for the connections that only our table keeps alive: one straight to this host, whose client uses
 * the same port by the tunnel too (or has within two minutes), is given another port by the kernel's
 * translation, and breaks with it. Call `forgetMarked` first, so that no new ones come.
 * @returns how many were still there when the time was over
 */
export async function awaitRenumbered(conntrack: Conntrack, timeoutMs: number): Promise<number> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    let left = 0
    const closed: ConntrackEntry[] = []
    await conntrack.walk({ protocol: 'tcp' }, (entry) => {
      if (!isRenumbered(entry)) return
      if (entry.tcpState === 'time-wait' || entry.tcpState === 'close') closed.push(entry)
      else left += 1
    })
    // Their numbers are taken for two minutes more: who comes with one would be renumbered in turn.
    await deleteAll(conntrack, closed)
    if (left === 0 || performance.now() >= deadline) return left
    await delay(pollMs)
  }
}

/**
 * Deletes the service's TCP entries that nobody has answered: the retransmission of such a SYN would go the
 * way that the entry remembers, to a process that is stopped by now. To be called before new clients are let go.
 * @returns how many were deleted
 */
export const forgetUnanswered = (conntrack: Conntrack, service: ServiceSpec): Promise<number> =>
  forgetOpenings(conntrack, (entry) => isOpening(service, entry))

/**
 * The same while clients come: only those that go another way than the rules do now. To be called before the
 * process there stops.
 */
export const forgetMisled = (conntrack: Conntrack, service: ServiceSpec): Promise<number> =>
  forgetOpenings(conntrack, (entry) => isMisled(service, entry))

async function forgetOpenings(conntrack: Conntrack, isDoomed: (entry: ConntrackEntry) => boolean): Promise<number> {
  const doomed: ConntrackEntry[] = []
  await conntrack.walk({ protocol: 'tcp', tcpStates: ['syn-sent'], unanswered: true }, (entry) => {
    if (isDoomed(entry)) doomed.push(entry)
  })
  return deleteAll(conntrack, doomed)
}

const isOpening = (service: ServiceSpec, entry: ConntrackEntry): boolean =>
  entry.tcpState === 'syn-sent' && routeOf(service, entry) !== undefined

/** Pure part of `forgetMisled`. What goes the right way stays: without it the answer would confuse its client. */
export function isMisled(service: ServiceSpec, entry: ConntrackEntry): boolean {
  const action = entry.tcpState === 'syn-sent' ? routeOf(service, entry)?.action : undefined
  if (!action || isRedirected(service, entry)) return false
  return (wayOf(entry.mark).way === 'into' ? forwardOf(action) : serveOf(action)) === undefined
}

/** Only the client's port is another one: no translation that an operator would write does that. */
export const isRenumbered = ({ mark, original, reply }: ConntrackEntry): boolean =>
  wayOf(mark).way === 'direct' &&
  original.source === reply.destination &&
  original.destination === reply.source &&
  original.destinationPort === reply.sourcePort &&
  original.sourcePort !== reply.destinationPort

const turned = (entry: ConntrackEntry): ConntrackEntry => ({ ...entry, original: entry.reply, reply: entry.original })

/**
 * Deletes established TCP connections to these services' own addresses that no socket of this host has:
 * left by an earlier move, or by any other table before ours. To be called when a table is new.
 * @returns how many were deleted
 */
export async function forgetGhosts(conntrack: Conntrack, services: readonly ServiceSpec[]): Promise<number> {
  const candidates: ConntrackEntry[] = []
  await conntrack.walk({ protocol: 'tcp' }, (entry) => {
    if (entry.tcpState === 'established') candidates.push(entry)
  })
  // After the walk: a connection that stands in it and is opened meanwhile has its socket by now.
  const sockets = await establishedSockets(0)
  return deleteAll(conntrack, ghosts(services, candidates, sockets))
}

/** Pure part of `forgetGhosts`. */
export function ghosts(
  services: readonly ServiceSpec[],
  entries: readonly ConntrackEntry[],
  sockets: readonly TcpSocket[],
): ConntrackEntry[] {
  const living = new Set(sockets.map((socket) => key(socket.local, socket.localPort, socket.remote, socket.remotePort)))
  const isGhost = (entry: ConntrackEntry): boolean =>
    services.some((service) => {
      const route = routeOf(service, entry)
      const { source, sourcePort, destination, destinationPort } = entry.reply
      // Answered elsewhere, in a container for one: whether that stands can't be seen from here.
      if (route?.address !== source) return false
      return !living.has(key(source, sourcePort, destination, destinationPort))
    })
  return entries.filter((entry) => wayOf(entry.mark).way === 'direct' && (isGhost(entry) || isGhost(turned(entry))))
}

async function deleteAll(conntrack: Conntrack, doomed: readonly ConntrackEntry[]): Promise<number> {
  let deleted = 0
  for (const entry of doomed) if (await conntrack.delete(entry)) deleted += 1
  return deleted
}

const key = (local: string, localPort: number, remote: string, remotePort: number): string =>
  `${local} ${localPort} ${remote} ${remotePort}`
