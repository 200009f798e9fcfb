/** What the host knows of its tunnels, services and clients now. */
import type * as wire from '../proto/gen/fleetmove.js'
import type { HostSpec, ServiceSpec } from '../proto/model/host-spec.js'
import type { KnownAges } from './flows/ages.js'
import { readArrivals, readCounters, readOpened } from './flows/arrivals.js'
import { establishedForwarded } from './flows/forwarded.js'
import { tracked } from './flows/tracked.js'
import type { History } from './history/history.js'
import type { Host } from './host.js'
import type { Conntrack } from './kernel/conntrack.js'
import { describeStep } from './kernel/describe-step.js'
import { linkStats } from './kernel/link-stats.js'
import type { HostLock } from './lock.js'
import { shedCounter, silentCounter } from './plan/unreachable.js'
import { standingHere } from './pulse.js'
import { askPeer } from './reach.js'
import type { Reconciler } from './reconcile.js'
import type { Watch } from './reconcile-watch.js'
import type { Room } from './room.js'
import { piecesOf } from './tunnel/tunnel.js'
import type { TunnelWatch } from './tunnel-watch.js'

/** What keeps the kernel as the spec wants it. */
export interface Upkeep {
  reconciler: Pick<Reconciler, 'mended' | 'fighting'>
  watch: Pick<Watch, 'blind'>
  lock: HostLock
  history: History
  /** What is written down beside counts. */
  logs: readonly { readonly problem: string | undefined }[]
  tunnels: Pick<TunnelWatch, 'silence' | 'silent' | 'fits'>
  room: Pick<Room, 'shedding'>
  ages: KnownAges
}

/** Rates are told of so long a time. */
const recentMs = 60_000

/** @param maxArrivals the longest list of clients that is returned for a service, the latest first */
export async function status(
  host: Host,
  conntrack: Conntrack,
  { reconciler, watch, lock, history, logs, tunnels: watched, room, ages }: Upkeep,
  maxArrivals: number,
): Promise<wire.StatusReply> {
  const spec = host.spec
  const { times, lastAt, steps } = reconciler.mended
  const upkeep = {
    mended: times === 0 ? undefined : { times, lastMsAgo: Math.max(0, Date.now() - lastAt), steps },
    fighting: reconciler.fighting,
    blind: [...watch.blind],
    lock: holderOf(lock),
    unlogged: logs.flatMap(({ problem }) => problem ?? []),
  }
  if (!spec) return { tunnels: [], services: [], drift: [], tracked: undefined, ...upkeep }
  // By itself: whatever else this process does would count as the tunnel's round trip.
  const asked = await Promise.all(spec.tunnels.map((tunnel) => tunnelStatus(tunnel, watched)))
  const [counters, arrivals, opened, established, drift, connections] = await Promise.all([
    readCounters(),
    readArrivals(),
    readOpened(),
    establishedForwarded(conntrack, spec),
    host.drift(),
    tracked(conntrack),
  ])
  const recent = history.recent(opened, recentMs)
  const standing = new Map(
    await Promise.all(
      spec.services.map(async (service) => [service.name, await standingHere(conntrack, service, ages)] as const),
    ),
  )
  return {
    tunnels: asked.map((each) => ({ ...each, unanswered: counters.get(silentCounter(each.index)) ?? 0 })),
    services: spec.services.map((service) => {
      const own = arrivals.filter((arrival) => belongs(service, arrival))
      return {
        ...standing.get(service.name)!,
        name: service.name,
        forwarded: opened.get(service.name)?.forwarded ?? 0,
        served: opened.get(service.name)?.served ?? 0,
        establishedForwarded: established.get(service.name) ?? 0,
        arrivals: own.slice(0, maxArrivals),
        arrivalsTotal: own.length,
        recentForwarded: recent.counts.get(service.name)?.forwarded ?? 0,
        recentServed: recent.counts.get(service.name)?.served ?? 0,
        recentMs: recent.ms,
      }
    }),
    drift: drift.map(describeStep),
    tracked: { ...connections, shed: counters.get(shedCounter) ?? 0, shedding: room.shedding },
    ...upkeep,
  }
}

function holderOf({ held }: HostLock): wire.LockHolder | undefined {
  return held ? { id: held.id, owner: held.owner, command: held.command, sinceMs: held.since } : undefined
}

async function tunnelStatus(
  tunnel: HostSpec['tunnels'][number],
  watched: Upkeep['tunnels'],
): Promise<Omit<wire.TunnelStatus, 'unanswered'>> {
  const [reach, stats] = await Promise.all([askPeer(tunnel, 1000), linkStats(piecesOf(tunnel).device)])
  return {
    index: tunnel.index,
    up: reach.up,
    rttMs: reach.rttMs,
    rxBytes: stats?.rxBytes ?? 0,
    txBytes: stats?.txBytes ?? 0,
    detail: reach.up ? '' : (watched.silent(tunnel.index) ?? (stats ? reach.detail : 'the device is gone')),
    downForMs: reach.up ? 0 : watched.silence(tunnel.index),
    fits: watched.fits(tunnel.index),
  }
}

const belongs = (service: ServiceSpec, arrival: { address: string; protocol: string; port: number }): boolean =>
  service.routes.some(
    (route) =>
      route.address === arrival.address &&
      route.protocol === arrival.protocol &&
      arrival.port >= route.ports.from &&
      arrival.port <= route.ports.to,
  )
