import type { ServiceSpec } from '../../proto/model/host-spec.js'
import { destroySockets, establishedSockets } from '../kernel/sock-diag.js'
import { routeOfSocket } from './service-flows.js'

/**
 * Ends the service's established TCP connections on this host: a clean reset instead of a silence when
 * the process goes. Those of containers end with them.
 * @returns how many
 */
export async function resetConnections(service: ServiceSpec): Promise<number> {
  const sockets = await establishedSockets(0)
  return destroySockets(sockets.filter((socket) => routeOfSocket(service, socket)))
}
