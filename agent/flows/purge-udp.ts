/** Forgets the UDP flows of a service. */
import type { ServiceSpec } from '../../proto/model/host-spec.js'
import type { Conntrack, ConntrackEntry } from '../kernel/conntrack.js'
import { hasProtocol, routeOf } from './service-flows.js'

/**
 * Deletes exactly the entries of the service's UDP listeners, so that each flow's next datagram is
 * dispatched by the rules that stand then: a flow keeps its old translation for as long as it talks.
 * Entries in a tunnel's zone go too. To be called after the rules are changed.
 * @returns how many were deleted
 */
export async function purgeUdp(conntrack: Conntrack, service: ServiceSpec): Promise<number> {
  if (!hasProtocol(service, 'udp')) return 0
  const doomed: ConntrackEntry[] = []
  for (const family of [4, 6] as const) {
    await conntrack.walk({ family, protocol: 'udp' }, (entry) => {
      if (routeOf(service, entry)) doomed.push(entry)
    })
  }
  let deleted = 0
  for (const entry of doomed) {
    if (await conntrack.delete(entry)) deleted += 1
  }
  return deleted
}
