/** `fleetmove dns`: what name servers answer, until when caches may keep it, and who still comes by the old address. */

import type { Ip } from '../proto/model/address.js'
import type { Stage } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import { parseIp } from '../proto/parse.js'
import type { Fleet, NameServer } from './config/fleet.js'
import { askNames } from './dns/ask.js'
import { askServer, type RecordState, readRecords, recursorOf, type ServerAnswer } from './dns/records.js'
import { knownResolvers } from './dns/resolvers.js'
import { allArrivals, readHistory } from './history.js'
import { inParallel } from './in-parallel.js'
import { type JournalEntry, journal, readJournal } from './journal.js'
import { statusOfClients } from './own-probes.js'
import { arrivalCurve } from './plan/arrival-curve.js'
import type { ArrivalRow } from './plan/arrivals-over-time.js'
import { type Estimate, merged, shareOf, whenBelow } from './plan/decay.js'
import { cachesGoneAtMs, changedAtMs, type Look, recordType } from './plan/dns-verdict.js'
import { likelyCause, type StragglerCause } from './plan/straggler-cause.js'
import { readRecord } from './record.js'
import { selectServices } from './select-services.js'
import { type Context, withWorld } from './world.js'

/** Long enough to list everybody whom an operator can still ask. */
const maxArrivals = 1000
/** Reverse names are looked up for the latest only: each may cost seconds. */
const mostNamed = 50

export interface DnsReport {
  fleet: Name
  records: RecordReport[]
  arrivals: ServiceArrivals[]
  /** Why nothing is known of arrivals, where the hosts couldn't be asked. */
  unasked: string | null
}

export interface RecordReport extends Omit<RecordState, 'zone'> {
  type: 'A' | 'AAAA'
  owner: string
  zone: string
  resolvers: ServerAnswer[]
  /** ISO 8601; null while the old address is given, or when it isn't known since when it is not. */
  cachesGoneAt: string | null
}

export interface ServiceArrivals {
  service: Name
  stage: Stage
  /** Connections since `up`: by the address of the old host, and by that of the new one. */
  viaOld: number
  viaNew: number
  /** Who came by the old address after the switch, the latest first. */
  stragglers: DnsStraggler[]
  stragglersTotal: number
  /** Since the record changed, or since the first came by the new address. */
  decay: Decay
}

export interface Decay {
  /** The share by the old address over time, oldest first, at most 60 points. */
  curve: { at: string; share: number }[]
  /** When 99 % and 99.9 % come by the new address. */
  moved99: Estimate
  moved999: Estimate
}

export interface DnsStraggler {
  client: string
  port: number
  count: number
  lastSeen: string
  names: string[]
  cause: StragglerCause
}

export async function dns(context: Context, names: readonly string[]): Promise<DnsReport> {
  const { fleet, progress } = context
  const services = selectServices(fleet, names)
  const resolvers = knownResolvers(fleet)
  const states = await readRecords(fleet, services)
  for (const { zone, family, side, ttlSeconds } of distinct(states))
    await journal(fleet, { type: 'dns', owner: zone.owner, record: recordType(family), side, ttlSeconds })
  const entries = await readJournal(fleet)
  const records = await inParallel(states, async (state) => reportOf(state, await askAll(resolvers, state), entries))
  try {
    return { fleet: fleet.name, records, arrivals: await arrivalsOf(context, names, records, entries), unasked: null }
  } catch (error) {
    // Names are worth looking at even where a host is down.
    progress.note('dns', `the hosts can't be asked: ${(error as Error).message}`)
    return { fleet: fleet.name, records, arrivals: [], unasked: (error as Error).message }
  }
}

/** Two services may have a name in common. */
function distinct(states: readonly RecordState[]): RecordState[] {
  return [...new Map(states.map((state) => [`${state.zone.owner} ${state.family}`, state])).values()]
}

const askAll = (resolvers: readonly (NameServer & { name: string })[], state: RecordState): Promise<ServerAnswer[]> =>
  inParallel(resolvers, (resolver) => askServer(resolver, state.name, state.family, state.changes))

function reportOf(state: RecordState, resolvers: ServerAnswer[], entries: readonly JournalEntry[]): RecordReport {
  const { zone, ...rest } = state
  const goneMs = cachesGoneAtMs(looksAt(entries, zone.owner, recordType(state.family)))
  return {
    ...rest,
    type: recordType(state.family),
    owner: zone.owner,
    zone: zone.zone,
    resolvers,
    cachesGoneAt: goneMs === null ? null : new Date(goneMs).toISOString(),
  }
}

export const looksAt = (entries: readonly JournalEntry[], owner: string, record: 'A' | 'AAAA'): Look[] =>
  entries.flatMap((entry) =>
    entry.type === 'dns' && entry.owner === owner && entry.record === record
      ? [{ atMs: Date.parse(entry.at), side: entry.side, ttlSeconds: entry.ttlSeconds }]
      : [],
  )

function arrivalsOf(
  context: Context,
  names: readonly string[],
  records: readonly RecordReport[],
  entries: readonly JournalEntry[],
): Promise<ServiceArrivals[]> {
  return withWorld(context, async (world) => {
    const statuses = new Map(
      await inParallel(
        world.agents.values(),
        async (agent) => [agent.host, await statusOfClients(agent, maxArrivals, entries)] as const,
      ),
    )
    const live = new Map(
      await inParallel(world.agents.values(), async (agent) => [agent.host, await readHistory(agent)] as const),
    )
    const history = allArrivals(await readRecord(world.fleet), live)
    const now = Date.now()
    return inParallel(selectServices(world.fleet, names), async (service) => {
      const { stage, active } = world.states.get(service.name)!
      const of = (host: Name) => statuses.get(host)?.services.find((each) => each.name === service.name)
      const opened = (host: Name): number => (host === active ? of(host)?.served : of(host)?.forwarded) ?? 0
      const afterSwitch = active === service.to
      const came = afterSwitch ? (of(service.from)?.arrivals ?? []) : []
      const own = records.filter((record) => record.service === service.name)
      const goneMs = latestGone(own)
      const spans = (host: Name) => (history.get(host) ?? []).filter((row) => row.service === service.name)
      const stragglers = await inParallel(
        came.slice(0, mostNamed),
        async ({ client, port, count, lastSeenMsAgo }) => {
          const ptr = await namesOf(world.fleet, client)
          const lastSeenMs = now - lastSeenMsAgo
          return {
            client,
            port,
            count,
            lastSeen: new Date(lastSeenMs).toISOString(),
            names: ptr,
            cause: likelyCause({ names: ptr, port, lastSeenMs, cachesGoneMs: goneMs }),
          }
        },
        10,
      )
      return {
        service: service.name,
        stage,
        viaOld: opened(service.from),
        viaNew: opened(service.to),
        stragglers,
        stragglersTotal: came.length,
        decay: decayOf(spans(service.from), spans(service.to), changedSince(own, entries)),
      }
    })
  })
}

/** When its first record was changed; undefined where that isn't known. */
function changedSince(records: readonly RecordReport[], entries: readonly JournalEntry[]): number | undefined {
  const changes = records.flatMap(({ owner, type }) => changedAtMs(looksAt(entries, owner, type)) ?? [])
  return changes.length === 0 ? undefined : Math.min(...changes)
}

const mostPoints = 60

function decayOf(old: readonly ArrivalRow[], fresh: readonly ArrivalRow[], changedMs: number | undefined): Decay {
  const firstNew = fresh.find(({ forwarded, served }) => forwarded + served > 0)?.from ?? Number.POSITIVE_INFINITY
  const buckets = arrivalCurve(old, fresh, changedMs ?? firstNew)
  const total = buckets.reduce((sum, bucket) => sum + bucket.old + bucket.new, 0)
  const curve = merged(buckets, Math.max(1, Math.ceil(total / mostPoints)))
  return {
    curve: curve.map((bucket) => ({ at: new Date(bucket.atMs).toISOString(), share: shareOf(bucket) ?? 0 })),
    moved99: whenBelow(buckets, 0.01),
    moved999: whenBelow(buckets, 0.001),
  }
}

/** When the last of a service's names is out of the caches; null while one isn't changed, or isn't known. */
function latestGone(records: readonly RecordReport[]): number | null {
  const times = records.map(({ cachesGoneAt }) => (cachesGoneAt === null ? null : Date.parse(cachesGoneAt)))
  if (times.length === 0 || times.includes(null)) return null
  return Math.max(...(times as number[]))
}

function namesOf(fleet: Fleet, client: string): Promise<string[]> {
  const parsed = parseIp(client)
  return parsed.ok ? askNames(recursorOf(fleet), parsed.value as Ip) : Promise.resolve([])
}
