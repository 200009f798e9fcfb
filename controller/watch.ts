/** `fleetmove watch`: what the hosts tell, again and again. A host that can't be reached is shown and asked again. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Stage } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import { type HostState, WatchedHost } from './host-watch.js'
import { type JournalEntry, lastStage, readJournal } from './journal.js'
import type { OldestConnection } from './plan/drain-text.js'
import { pairKey } from './plan/tunnel-pair.js'
import { oldShareOver } from './rates.js'
import { selectServices } from './select-services.js'
import { lastProof, type ServiceLine } from './status.js'
import type { Context } from './world.js'

/** Shares and losses are told of so long a time: long enough to mean something, short enough to see a change. */
const windowMs = 60_000
/** Before the first frame: an SSH connection, and two answers for a rate. */
const firstFrameMs = 8000
const countedFrameMs = 60_000

export interface WatchFrame {
  fleet: Name
  /** Milliseconds since 1970. */
  at: number
  services: WatchedService[]
  tunnels: WatchedTunnel[]
  hosts: HostState[]
}

export interface WatchedService extends Pick<ServiceLine, 'name' | 'from' | 'to' | 'active' | 'stage' | 'lastProof'> {
  /** New connections a second since the last look; null where a host told nothing. */
  byOld: number | null
  byNew: number | null
  /** The share by the old address within the last minute; null while it isn't known. */
  oldShare: number | null
  /** The same rates over time, the newest last. */
  trend: { byOld: (number | null)[]; byNew: (number | null)[] }
  /** Open by the forwarding host's address. */
  established: number
  /** Open on the host that new clients don't reach any more. */
  standing: number
  /** Of those. */
  oldest: OldestConnection | null
}

export interface WatchedTunnel {
  a: Name
  b: Name
  driver: string
  mtu: number
  /** The worse of both ends' medians; null without an answer. */
  rttMs: number | null
  /** Within the last minute, 0 to 1; null where nothing was asked yet. */
  loss: number | null
  /** Since the last answer; null unless it is sure that the peer is silent. */
  downForMs: number | null
  /** Why, as far as the hosts know. */
  detail: string
}

export interface WatchOptions {
  services: readonly string[]
  /** All when empty. */
  stages: readonly Stage[]
  intervalMs: number
  /** Frames; undefined: until `signal`. */
  count: number | undefined
  signal: AbortSignal
}

/** Calls `onFrame` every interval. Resolves after the last frame, or when `signal` says so. */
export async function watch(
  context: Context,
  options: WatchOptions,
  onFrame: (frame: WatchFrame) => void,
): Promise<void> {
  const services = selectServices(context.fleet, options.services)
  const needed = new Set(services.flatMap(({ from, to }) => [from, to]))
  const hosts = new Map(
    [...needed].map((name) => {
      const { ssh, become } = context.fleet.hosts.get(name)!
      return [name, new WatchedHost({ name, ssh, become }, context.site, options.intervalMs)] as const
    }),
  )
  const keep = Math.ceil(windowMs / options.intervalMs)
  const trends = new Map<Name, Trend>(services.map(({ name }) => [name, new Trend(Math.max(keep, 60))]))
  const wait = (ms: number): Promise<void> => delay(ms, undefined, { signal: options.signal }).catch(() => {})
  // Who counts frames is a program, and wants what is known, however long that takes.
  const deadline = performance.now() + (options.count === undefined ? firstFrameMs : countedFrameMs)
  try {
    for (const host of hosts.values()) host.begin()
    while (performance.now() < deadline && [...hosts.values()].some((host) => !host.settled)) {
      await wait(20)
      if (options.signal.aborted) return
    }
    for (let frames = 0; !options.signal.aborted; ) {
      const due = performance.now() + options.intervalMs
      const entries = await readJournal(context.fleet)
      const lines = services.map((service) => {
        const trend = trends.get(service.name)!
        trend.take(hosts.get(service.from)!.rate(service.name), hosts.get(service.to)!.rate(service.name))
        return lineOf(service, hosts, trend, keep, entries)
      })
      onFrame({
        fleet: context.fleet.name,
        at: Date.now(),
        services: lines.filter(({ stage }) => options.stages.length === 0 || options.stages.includes(stage)),
        tunnels: tunnelsOf(hosts, windowMs),
        hosts: [...hosts.values()].map((host) => host.state),
      })
      frames += 1
      if (frames === options.count) return
      await wait(Math.max(0, due - performance.now()))
    }
  } finally {
    await Promise.all([...hosts.values()].map((host) => host.end()))
  }
}

/** Rates over time, both of the same moments. */
class Trend {
  readonly byOld: (number | null)[] = []
  readonly byNew: (number | null)[] = []

  constructor(private readonly longest: number) {}

  take(byOld: number | null, byNew: number | null): void {
    this.byOld.push(byOld)
    this.byNew.push(byNew)
    if (this.byOld.length > this.longest) {
      this.byOld.shift()
      this.byNew.shift()
    }
  }
}

function lineOf(
  { name, from, to }: { name: Name; from: Name; to: Name },
  hosts: ReadonlyMap<Name, WatchedHost>,
  trend: Trend,
  keep: number,
  entries: readonly JournalEntry[],
): WatchedService {
  const of = (host: Name) => hosts.get(host)?.pulse?.services.find((each) => each.name === name)
  const told = [of(from), of(to)].flatMap((each) => each ?? [])
  // A command that was killed between the two hosts: the younger state counts.
  const newest = told.sort((x, y) => y.generation - x.generation)[0]
  const active = (newest?.active ?? from) as Name
  const forwarder = active === from ? to : from
  const known = lastStage(entries, name)
  const finalized = newest === undefined && known === 'finalized'
  const byOld = trend.byOld.at(-1) ?? null
  const byNew = trend.byNew.at(-1) ?? null
  return {
    name,
    from,
    to,
    stage: (newest?.stage ?? (finalized ? 'finalized' : unseen(hosts, [from, to], known))) as Stage,
    active: finalized ? to : active,
    byOld,
    byNew,
    oldShare: oldShareOver(trend.byOld.slice(-keep), trend.byNew.slice(-keep)),
    trend: { byOld: [...trend.byOld], byNew: [...trend.byNew] },
    established: of(forwarder)?.establishedForwarded ?? 0,
    standing: of(newest?.paused ? active : forwarder)?.standing ?? 0,
    oldest: of(newest?.paused ? active : forwarder)?.oldest ?? null,
    lastProof: lastProof(entries, name),
  }
}

/** Of hosts that can't be asked, or not yet, only the journal knows something. */
const unseen = (hosts: ReadonlyMap<Name, WatchedHost>, both: readonly Name[], known: Stage | undefined): Stage =>
  both.some((host) => ['watched', 'no-agent'].includes(hosts.get(host)!.state.state)) ? 'planned' : (known ?? 'planned')

function tunnelsOf(hosts: ReadonlyMap<Name, WatchedHost>, withinMs: number): WatchedTunnel[] {
  const pairs = new Map<string, WatchedTunnel & { sent: number; lost: number }>()
  for (const [host, watched] of hosts) {
    for (const { peer, driver, mtu, rttMs, sent, lost, downForMs, detail } of watched.tunnels(withinMs)) {
      const [a, b] = [host, peer].sort() as [Name, Name]
      const fresh = { ...{ a, b, driver, mtu, rttMs: null, loss: null, sent: 0, lost: 0 }, downForMs: null, detail: '' }
      const known: WatchedTunnel & { sent: number; lost: number } = pairs.get(pairKey(host, peer)) ?? fresh
      if (downForMs > (known.downForMs ?? 0)) Object.assign(known, { downForMs, detail: `${host}: ${detail}` })
      if (rttMs !== null) known.rttMs = Math.max(known.rttMs ?? 0, rttMs)
      known.sent += sent
      known.lost += lost
      pairs.set(pairKey(host, peer), known)
    }
  }
  return [...pairs.values()].map(({ sent, lost, ...pair }) => ({ ...pair, loss: sent > 0 ? lost / sent : null }))
}
