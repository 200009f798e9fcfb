import type { HostSpec } from '../../proto/model/host-spec.js'
import type { Conntrack } from '../kernel/conntrack.js'
import { intoKind, routeOf } from './service-flows.js'

/** Service → its established TCP connections that go through this host into a tunnel, with one walk. */
export async function establishedForwarded(conntrack: Conntrack, spec: HostSpec): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  // The kernel leaves out the others, which may be a million.
  await conntrack.walk({ protocol: 'tcp', mark: { value: intoKind, mask: intoKind } }, (entry) => {
    if (entry.tcpState !== 'established') return
    const service = spec.services.find((each) => routeOf(each, entry))
    if (service) counts.set(service.name, (counts.get(service.name) ?? 0) + 1)
  })
  return counts
}
