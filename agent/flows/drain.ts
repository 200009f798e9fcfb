/** Connections of a service that still stand on this host. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Ip } from '../../proto/model/address.js'
import type { ServiceRoute, ServiceSpec } from '../../proto/model/host-spec.js'
import { type Conntrack, type ConntrackEntry, status } from '../kernel/conntrack.js'
import type { TcpState } from '../kernel/conntrack-tcp.js'
import { agedSockets, establishedSockets, type TcpSocket } from '../kernel/sock-diag.js'
import type { KnownAges, Oldest, Standing } from './ages.js'
import { hasProtocol, isRedirected, routeOf, routeOfSocket, wayOf } from './service-flows.js'

export interface Drain {
  /** That go through this host into a tunnel. */
  forwarded: number
  /** That are answered here, whichever way they came. */
  answered: number
  /** Of `answered`: those that came out of a tunnel. */
  answeredFromTunnel: number
  /** Clients with the most connections first, at most `mostClients`; addresses as this host sees them. */
  clients: { client: Ip; connections: number }[]
  /** Of `answered`; absent where there is none. */
  oldest?: Oldest
}

const mostClients = 20

/**
 * Counts the service's established TCP connections and its UDP flows that have talked both ways for
 * two seconds (the kernel's "assured"), with one walk through connection tracking. Sockets that nothing
 * tracks (opened before our table made the kernel track) are counted too, each connection once.
 */
export async function drain(conntrack: Conntrack, service: ServiceSpec, ages: KnownAges): Promise<Drain> {
  const entries: ConntrackEntry[] = []
  await conntrack.walk({ tcpStates: standingStates }, (entry) => {
    const action = stands(entry) ? routeOf(service, entry)?.action : undefined
    if (isRedirected(service, entry)) return
    if (action && (entry.protocol === 'tcp' || staysHere(action))) entries.push(entry)
  })
  const sockets = hasProtocol(service, 'tcp') ? await establishedSockets(0) : []
  const { standing, ...counted } = countDrain(service, entries, sockets)
  const leastAges = async (): Promise<Map<string, number>> =>
    new Map(
      (await agedSockets()).map((each) => [
        key(each.local, each.localPort, each.remote, each.remotePort),
        each.atLeastMs,
      ]),
    )
  const oldest = await ages.oldest(service.name, standing, leastAges)
  return oldest ? { ...counted, oldest } : counted
}

const pollMs = 10

/**
 * Looks until nobody is left, at most for so long; each look may take a third of the time.
 * @returns the last look
 */
export async function awaitDrained(look: () => Promise<Drain>, withinMs: number): Promise<Drain> {
  const begun = performance.now()
  for (;;) {
    const asked = performance.now()
    const found = await look()
    const now = performance.now()
    const leftMs = withinMs - (now - begun)
    if (found.answered === 0 || leftMs <= 0) return found
    await delay(Math.min(leftMs, Math.max(pollMs, 2 * (now - asked))))
  }
}

/** Pure part of `drain`: `entries` are the service's own that stand, `sockets` any of the host's. */
export function countDrain(
  service: ServiceSpec,
  entries: readonly ConntrackEntry[],
  sockets: readonly TcpSocket[],
): Drain & { standing: Standing[] } {
  const clients = new Map<Ip, number>()
  const standing: Standing[] = []
  const add = (each: Standing): void => {
    clients.set(each.client, (clients.get(each.client) ?? 0) + 1)
    standing.push(each)
  }
  const tracked = new Set<string>()
  let forwarded = 0
  let answered = 0
  let answeredFromTunnel = 0
  const living = new Set(sockets.map((each) => key(each.local, each.localPort, each.remote, each.remotePort)))
  for (const entry of entries) {
    const { way } = wayOf(entry.mark)
    if (way === 'into') {
      forwarded += 1
      continue
    }
    if (isGhost(service, entry, living)) continue
    answered += 1
    if (way === 'from') answeredFromTunnel += 1
    const { source, sourcePort, destination, destinationPort } = entry.reply
    // The reply's direction is what a socket here would bear, after all translation.
    const socket = key(source, sourcePort, destination, destinationPort)
    add({ client: entry.original.source, id: `entry ${entry.id}`, socket, opened: openedAt(entry) })
    if (entry.protocol === 'tcp') tracked.add(socket)
  }
  for (const socket of sockets) {
    if (!routeOfSocket(service, socket)) continue
    const own = key(socket.local, socket.localPort, socket.remote, socket.remotePort)
    if (tracked.has(own)) continue
    answered += 1
    add({ client: socket.remote, id: `socket ${socket.id.bytes.toString('hex')}`, socket: own, opened: null })
  }
  return {
    forwarded,
    answered,
    answeredFromTunnel,
    standing,
    clients: [...clients]
      .map(([client, connections]) => ({ client, connections }))
      .sort((a, b) => b.connections - a.connections || (a.client < b.client ? -1 : 1))
      .slice(0, mostClients),
  }
}

/** One that was picked up in its middle was opened before. */
const openedAt = ({ times, pickedUp }: ConntrackEntry): number | null => (pickedUp ? null : times?.start || null)

/**
 * An entry whose socket is gone: connection tracking picked the connection up from its last packets, and
 * would keep it for days. Of a container's sockets nothing is known here.
 */
function isGhost(service: ServiceSpec, entry: ConntrackEntry, living: ReadonlySet<string>): boolean {
  if (entry.protocol !== 'tcp' || entry.tcpState !== 'established') return false
  const { source, sourcePort, destination, destinationPort } = entry.reply
  if (routeOf(service, entry)?.address !== source) return false
  return !living.has(key(source, sourcePort, destination, destinationPort))
}

/** UDP flows don't end while their clients talk: they are moved (purge-udp.ts), and not waited for. */
const staysHere = ({ kind }: ServiceRoute['action']): boolean => kind === 'serve' || kind === 'split'

/**
 * Half-closed connections still carry data one way, but their end is under way and bounded by timeouts. One
 * that is being opened would be refused if its server stopped now.
 */
const standingStates: readonly TcpState[] = ['established', 'syn-received']
const stands = ({ protocol, tcpState, status: bits }: ConntrackEntry): boolean =>
  protocol === 'tcp' ? tcpState !== null && standingStates.includes(tcpState) : (bits & status.assured) !== 0

const key = (local: Ip, localPort: number, remote: Ip, remotePort: number): string =>
  `${local} ${localPort} ${remote} ${remotePort}`
