/** What `watch` asks every second: figures that change quickly, and nothing that costs much to find. */
import type * as wire from '../proto/gen/fleetmove.js'
import type { ServiceSpec } from '../proto/model/host-spec.js'
import type { KnownAges } from './flows/ages.js'
import { readOpened } from './flows/arrivals.js'
import { drain } from './flows/drain.js'
import { establishedForwarded } from './flows/forwarded.js'
import type { Host } from './host.js'
import type { Conntrack } from './kernel/conntrack.js'
import { measureLoss } from './tunnel-loss.js'
import type { TunnelWatch } from './tunnel-watch.js'

export async function pulse(
  host: Host,
  conntrack: Conntrack,
  { tunnels: watched, ages }: { tunnels: Pick<TunnelWatch, 'silence' | 'silent'>; ages: KnownAges },
): Promise<wire.PulseReply> {
  const spec = host.spec
  if (!spec) return { atMs: Date.now(), tunnels: [], services: [] }
  // By itself: whatever else this process does would count as the tunnel's.
  const tunnels = await Promise.all(
    spec.tunnels.map(async (tunnel) => {
      const loss = await measureLoss(tunnel)
      const why = loss.rttMs > 0 ? null : watched.silent(tunnel.index)
      return {
        index: tunnel.index,
        ...loss,
        downForMs: why === null ? 0 : watched.silence(tunnel.index),
        detail: why ?? '',
      }
    }),
  )
  const [opened, established] = await Promise.all([readOpened(), establishedForwarded(conntrack, spec)])
  return {
    atMs: Date.now(),
    tunnels,
    services: await Promise.all(
      spec.services.map(async (service) => ({
        ...(await standingHere(conntrack, service, ages)),
        name: service.name,
        stage: service.stage,
        active: service.active,
        generation: spec.generation,
        paused: service.routes.some(({ action }) => action.kind === 'pause'),
        forwarded: opened.get(service.name)?.forwarded ?? 0,
        served: opened.get(service.name)?.served ?? 0,
        establishedForwarded: established.get(service.name) ?? 0,
      })),
    ),
  }
}

/** A look through all of connection tracking, so only while somebody waits for it. */
export async function standingHere(
  conntrack: Conntrack,
  service: ServiceSpec,
  ages: KnownAges,
): Promise<Pick<wire.ServiceStatus, 'standing' | 'standingClients' | 'oldest'>> {
  if (service.stage !== 'moving') return { standing: 0, standingClients: [], oldest: undefined }
  const { answered, clients, oldest } = await drain(conntrack, service, ages)
  return { standing: answered, standingClients: clients, oldest }
}
