/** A connection that has ended → a line of the log. Pure. */
import type { Ip } from '../../proto/model/address.js'
import type { HostSpec, Protocol } from '../../proto/model/host-spec.js'
import { wayOf } from '../flows/service-flows.js'
import { type ConntrackEntry, status } from '../kernel/conntrack.js'

/** What the log needs of a spec: the same before and after a switch. */
export interface LoggedListener {
  service: string
  protocol: Protocol
  address: Ip
  from: number
  to: number
}

export const loggedListeners = (spec: HostSpec): LoggedListener[] =>
  spec.services.flatMap(({ name, routes }) =>
    routes.map(({ protocol, address, ports }) => ({
      service: name,
      protocol,
      address,
      from: ports.from,
      to: ports.to,
    })),
  )

/** Seconds after the last packet until the kernel forgets, by state: what `/proc/sys/net/netfilter` says. */
export type Timeouts = Readonly<Record<string, number>>

/** The names of the files, without `nf_conntrack_`. */
export function timeoutName({ protocol, tcpState, status: bits }: ConntrackEntry): string {
  if (protocol === 'udp') return (bits & status.assured) === 0 ? 'udp_timeout' : 'udp_timeout_stream'
  const state =
    { 'syn-received': 'syn_recv', 'syn-sent2': 'syn_sent' }[tcpState as string] ?? tcpState?.replace('-', '_')
  return `tcp_timeout_${state ?? 'close'}`
}

export interface ConnectionLine {
  /** ISO 8601; null where it began before the log did. */
  start: string | null
  /** Of the last packet. */
  end: string
  service: string
  protocol: Protocol
  client: Ip
  clientPort: number
  /** That the client used. */
  address: Ip
  port: number
  /** On through a tunnel, or answered by this host. */
  forwarded: boolean
  /** With headers, from the client and to it; null where this host doesn't count. */
  received: number | null
  sent: number | null
}

/** @returns null for what is no client's: other listeners, and what came out of a tunnel, which its other end writes down */
export function connectionLine(
  entry: ConntrackEntry,
  find: (protocol: Protocol, address: Ip, port: number) => string | undefined,
  timeouts: Timeouts,
  now: number,
): ConnectionLine | null {
  const { protocol, original, times, bytes } = entry
  const service = find(protocol, original.destination, original.destinationPort)
  const { way } = wayOf(entry.mark)
  if (service === undefined || way === 'from') return null
  // Nobody has answered: a scan, or a server that is away.
  if ((entry.status & status.seenReply) === 0) return null
  // The kernel forgets a connection when nothing has come for as long as its last state bears.
  const silent = Math.max(0, (timeouts[timeoutName(entry)] ?? 0) - entry.timeout) * 1000
  const stop = times && times.stop > 0 ? times.stop : now
  const end = Math.max(stop - silent, times?.start ?? 0)
  return {
    start: times && times.start > 0 ? new Date(times.start).toISOString() : null,
    end: new Date(end).toISOString(),
    service,
    protocol,
    client: original.source,
    clientPort: original.sourcePort,
    address: original.destination,
    port: original.destinationPort,
    forwarded: way === 'into',
    received: bytes?.original ?? null,
    sent: bytes?.reply ?? null,
  }
}

/** One look-up for each port; ranges beside. */
export function listenerFinder(listeners: readonly LoggedListener[]) {
  const single = new Map<string, string>()
  const ranges: LoggedListener[] = []
  for (const each of listeners) {
    if (each.from === each.to) single.set(`${each.protocol} ${each.address} ${each.from}`, each.service)
    else ranges.push(each)
  }
  return (protocol: Protocol, address: Ip, port: number): string | undefined =>
    single.get(`${protocol} ${address} ${port}`) ??
    ranges.find(
      (each) => each.protocol === protocol && each.address === address && port >= each.from && port <= each.to,
    )?.service
}
