/** Finds a client's connection on the host that answers it: the proof of a probe against a real listener. */
import { networkInterfaces } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { hostPort, type Ip } from '../../proto/model/address.js'
import type { FlowEvidence, FlowQuery } from '../../proto/model/probe.js'
import { parseIp } from '../../proto/parse.js'
import type { Conntrack, ConntrackEntry, ConntrackFilter } from '../kernel/conntrack.js'
import type { TcpState } from '../kernel/conntrack-tcp.js'
import { establishedSockets, type TcpSocket } from '../kernel/sock-diag.js'
import { wayOf } from './service-flows.js'

/** Each look goes through all of connection tracking: dozens at once on a busy host would keep it from anything else. */
const firstPauseMs = 20
const longestPauseMs = 320

/** On a busy host a probe's connection may be over before anybody looks for its socket. */
const ended = new Set<TcpState | null>(['fin-wait', 'close-wait', 'last-ack', 'time-wait'])

/**
 * Waits until the connection is established here. The client is matched in connection tracking as it
 * sent its first packet: where one client uses both public addresses from one port, the kernel gives
 * the socket another remote port.
 */
export async function findFlow(conntrack: Conntrack, query: FlowQuery): Promise<FlowEvidence> {
  const deadline = performance.now() + query.timeoutMs
  const wanted = `${query.client}${query.clientPort === 0 ? '' : ` port ${query.clientPort}`}`
  const target = `${query.protocol} ${hostPort(query.address, query.port)}`
  let last = ''
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    const isLast = performance.now() >= deadline
    const found = await look(conntrack, query, isLast)
    if (typeof found !== 'string') return found
    last = found
    if (isLast) break
    await delay(pauseMs)
  }
  return {
    found: false,
    evidence: '',
    tunnel: 0,
    detail: last || `no connection from ${wanted} to ${target} within ${query.timeoutMs} ms`,
  }
}

/**
 * Evidence, or why there is none yet.
 * @param isLast nothing more is waited for: what connection tracking knows will have to do
 */
async function look(conntrack: Conntrack, query: FlowQuery, isLast: boolean): Promise<FlowEvidence | string> {
  const { protocol, address, port } = query
  const entries: ConntrackEntry[] = []
  await conntrack.walk(filterOf(query), (entry) => void entries.push(entry))
  const standing = entries.filter((entry) => protocol === 'udp' || entry.tcpState === 'established')
  if (protocol === 'udp') {
    const entry = standing[0]
    // An unconnected socket has no peer to be looked up by.
    return entry ? evidence(entry, 'conntrack') : ''
  }
  let waiting = entries.length > 0 ? `the connection from ${query.client} is in state ${entries[0]?.tcpState}` : ''
  for (const entry of standing) {
    const { source, sourcePort, destination, destinationPort } = entry.reply
    if (wayOf(entry.mark).way === 'into') return evidence(entry, 'conntrack')
    const sockets = await establishedSockets(sourcePort)
    const isOurs = (socket: TcpSocket): boolean =>
      socket.local === source && socket.remote === destination && socket.remotePort === destinationPort
    if (sockets.some(isOurs)) return evidence(entry, 'socket')
    if (!isLocal(source)) return evidence(entry, 'conntrack')
    waiting = `the connection from ${query.client} passed connection tracking, but ${hostPort(source, sourcePort)} of this host has no socket for it`
  }
  // A busy service's queue of openings is full: its socket comes when the client sends again (listen(2), backlog).
  if (isLast && query.clientPort !== 0 && standing[0]) {
    const known = evidence(standing[0], 'conntrack')
    return { ...known, detail: `${known.detail}; the service has not taken it yet` }
  }
  // With its port known it is this very connection: whoever else had that port before is forgotten with a new SYN.
  const over = query.clientPort === 0 ? undefined : entries.find((entry) => ended.has(entry.tcpState))
  if (over) {
    const known = evidence(over, 'conntrack')
    return { ...known, detail: `${known.detail}; it is over by now` }
  }
  if (entries.length === 0) {
    // Nothing tracks it: as on a host whose table came after the connection.
    const sockets = await establishedSockets(port)
    const socket = sockets.find((each) => each.local === address && isFrom(query, each.remote, each.remotePort))
    if (socket) {
      // Unless it was established between the two looks.
      let tracked = false
      await conntrack.walk(filterOf(query), () => {
        tracked = true
      })
      if (tracked) return waiting
      const detail = `a socket of ${hostPort(socket.local, socket.localPort)} has the peer ${hostPort(socket.remote, socket.remotePort)}; the connection isn't tracked`
      return { found: true, evidence: 'socket', tunnel: 0, detail }
    }
  }
  return waiting
}

/** With the client in it the kernel tells of a few entries, where a busy service has hundreds of thousands. */
const filterOf = ({ protocol, address, port, client, clientPort }: FlowQuery): ConntrackFilter => ({
  protocol,
  destination: { address, port },
  source: { address: client, ...(clientPort === 0 ? {} : { port: clientPort }) },
})

const isFrom = (query: FlowQuery, client: Ip, clientPort: number): boolean =>
  client === query.client && (query.clientPort === 0 || clientPort === query.clientPort)

function evidence(entry: ConntrackEntry, kind: 'socket' | 'conntrack'): FlowEvidence {
  const { way, tunnel } = wayOf(entry.mark)
  const server = hostPort(entry.reply.source, entry.reply.sourcePort)
  const client = hostPort(entry.reply.destination, entry.reply.destinationPort)
  const path = { direct: 'straight', from: `out of tunnel ${tunnel}`, into: `and goes on into tunnel ${tunnel}` }[way]
  const where = kind === 'socket' ? `a socket of ${server} has the peer ${client}` : `${server} answers ${client}`
  return { found: true, evidence: kind, tunnel: way === 'from' ? tunnel : 0, detail: `${where}; it came ${path}` }
}

const isLocal = (ip: Ip): boolean =>
  Object.values(networkInterfaces())
    .flat()
    .some((each) => {
      const parsed = parseIp(each?.address ?? '')
      return parsed.ok && parsed.value === ip
    })
