/** Which connections belong to a service, and how they came. Pure. */

import { type Protocol, type ServiceRoute, type ServiceSpec, serveOf } from '../../proto/model/host-spec.js'
import type { ConntrackEntry } from '../kernel/conntrack.js'
import type { TcpSocket } from '../kernel/sock-diag.js'
import { intoTunnel, markMask } from '../plan/own.js'

/** The lowest bit of our byte of the mark: set for what goes into a tunnel. */
export const intoKind = intoTunnel(0)

export interface MarkedWay {
  /** `direct`: without our mark; `from`: its first packet came out of a tunnel; `into`: it goes into one. */
  way: 'direct' | 'from' | 'into'
  /** 0 for `direct`. */
  tunnel: number
}

/** What a connection's mark says, by agent/plan/own.ts. */
export function wayOf(mark: number): MarkedWay {
  const own = (mark & markMask) >>> 0
  if (own === 0) return { way: 'direct', tunnel: 0 }
  return { way: (own & intoKind) === 0 ? 'from' : 'into', tunnel: own >>> 25 }
}

/**
 * The listener that a connection's first packet was for. What comes out of a tunnel is addressed to
 * the port where the process listens, which may be another than the clients'.
 */
export function routeOf(service: ServiceSpec, entry: ConntrackEntry): ServiceRoute | undefined {
  const { destination, destinationPort } = entry.original
  return service.routes.find(
    (route) =>
      route.protocol === entry.protocol &&
      route.address === destination &&
      (inRange(route, destinationPort) || (wayOf(entry.mark).way === 'from' && destinationPort === servedPort(route))),
  )
}

/** The listener that a socket of this host answers for; it bears the process's own port. */
export function routeOfSocket(service: ServiceSpec, socket: TcpSocket): ServiceRoute | undefined {
  return service.routes.find(
    (route) =>
      route.protocol === 'tcp' &&
      route.address === socket.local &&
      (servedPort(route) === 0 ? inRange(route, socket.localPort) : socket.localPort === servedPort(route)),
  )
}

/** Answered by our own process with a redirect: nothing of the service's. */
export const isRedirected = (service: ServiceSpec, entry: ConntrackEntry): boolean =>
  entry.reply.sourcePort === service.redirect?.port && routeOf(service, entry)?.action.kind === 'redirect'

export const hasProtocol = (service: ServiceSpec, protocol: Protocol): boolean =>
  service.routes.some((route) => route.protocol === protocol)

const inRange = (route: ServiceRoute, port: number): boolean => port >= route.ports.from && port <= route.ports.to
/** Also while it is paused: who is connected then still is. */
function servedPort({ action, ready }: ServiceRoute): number {
  const known = action.kind === 'pause' && ready ? ready.dispatched : action
  return serveOf(known)?.port ?? 0
}
