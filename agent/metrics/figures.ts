import type { HostSpec } from '../../proto/model/host-spec.js'
import type { KnownAges } from '../flows/ages.js'
import { readOpened } from '../flows/arrivals.js'
import { establishedForwarded } from '../flows/forwarded.js'
import type { Conntrack } from '../kernel/conntrack.js'
import { linkStats } from '../kernel/link-stats.js'
import { standingHere } from '../pulse.js'
import { askPeer } from '../reach.js'
import { piecesOf } from '../tunnel/tunnel.js'
import type { Metrics } from './exposition.js'

const tunnelMs = 1000

/** What the kernel says now of all that is published. */
export async function figures(conntrack: Conntrack, spec: HostSpec, ages: KnownAges): Promise<Metrics> {
  const tunnels = await Promise.all(
    spec.tunnels.map(async (tunnel) => {
      const [reach, stats] = await Promise.all([askPeer(tunnel, tunnelMs), linkStats(piecesOf(tunnel).device)])
      const { up, rttMs } = reach
      return { peer: tunnel.peer, up, rttMs, rxBytes: stats?.rxBytes ?? 0, txBytes: stats?.txBytes ?? 0 }
    }),
  )
  const [opened, established] = await Promise.all([readOpened(), establishedForwarded(conntrack, spec)])
  const services = await Promise.all(
    spec.services.map(async (service) => ({
      name: service.name,
      stage: service.stage,
      active: service.active,
      forwarded: opened.get(service.name)?.forwarded ?? 0,
      served: opened.get(service.name)?.served ?? 0,
      establishedForwarded: established.get(service.name) ?? 0,
      standing: (await standingHere(conntrack, service, ages)).standing,
    })),
  )
  return { fleet: spec.fleet, host: spec.host, services, tunnels }
}
