/** `fleetmove report`: everything that is known of a move, from the journal and from hosts that can still be asked. */
import type { ErrorCode } from '../proto/model/error.js'
import type { HostSpec, Stage } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import type { Fleet, Service } from './config/fleet.js'
import { allArrivals, readHistory } from './history.js'
import { inParallel } from './in-parallel.js'
import { type JournalEntry, lastStage, readJournal } from './journal.js'
import { type ArrivalRow, type Buckets, buckets, totalOf } from './plan/arrivals-over-time.js'
import { statesOf } from './plan/host-specs.js'
import { type ClosedPorts, closedPorts, type SiteFirewall, siteFirewall } from './plan/site-firewall.js'
import { type StageTime, stageTimes } from './plan/stage-times.js'
import { type RecordEntry, type RecordedProof, readRecord } from './record.js'
import { Site } from './site.js'
import { parseSshTarget } from './ssh/ssh-target.js'
import type { Context } from './world.js'

/** Times are milliseconds since 1970. */
export interface Report {
  fleet: Name
  madeAt: number
  /** Of the first and the last thing that is known; null where nothing is. */
  begun: number | null
  ended: number | null
  operators: string[]
  hosts: { name: Name; role: 'old' | 'new' | 'both'; addresses: string[] }[]
  services: ReportedService[]
  runs: ReportedRun[]
  moves: ReportedMove[]
  verifications: { at: number; service: Name; proofs: RecordedProof[] }[]
  changes: { host: Name; events: { at: number; what: string; steps: string[] }[] }[]
  /** New connections of all services together. */
  arrivals: Buckets | null
  firewalls: SiteFirewall[]
  closed: ClosedPorts[]
  /** Hosts that could not be asked, and why: what came there since is missing. */
  unasked: { host: Name; why: string }[]
}

export interface ReportedService {
  name: Name
  from: Name
  to: Name
  strategy: 'rolling' | 'recreate'
  listen: string[]
  stage: Stage
  stages: StageTime[]
  byOld: number
  byNew: number
  arrivals: Buckets | null
  lastProof: { at: number; ok: boolean; preserved: number; total: number } | null
}

export interface ReportedRun {
  at: number
  command: string
  operator: string
  /** null: it didn't come to its end, or hasn't yet. */
  outcome: 'done' | ErrorCode | null
  message: string | undefined
  ms: number | null
}

/** One switch of a service, with the waiting that it cost. */
export interface ReportedMove {
  at: number
  service: Name
  to: Name
  /** Rolling: how long the switch took on both hosts. Recreate: how long nobody answered. */
  switchMs: number
  hold: { ms: number; clients: number; dropped: number } | null
  drain: { ms: number; left: number } | null
}

/** Columns of a chart. */
const mostBuckets = 120

export async function report(context: Context): Promise<Report> {
  const { fleet } = context
  const [entries, record] = await Promise.all([readJournal(fleet), readRecord(fleet)])
  const finished = [...fleet.services.keys()].every((name) => lastStage(entries, name) === 'finalized')
  // A finished move has left nothing on its hosts.
  const live = finished ? nothingLive : await askHosts(context)
  return compose({ fleet, entries, record, live, now: Date.now() })
}

interface Live {
  specs: Map<Name, HostSpec>
  rows: Map<Name, ArrivalRow[]>
  unasked: { host: Name; why: string }[]
}
const nothingLive: Live = { specs: new Map(), rows: new Map(), unasked: [] }

/** Whoever can't be asked is only noted: the journal has most of it. */
async function askHosts({ fleet, site }: Context): Promise<Live> {
  const live: Live = { specs: new Map(), rows: new Map(), unasked: [] }
  await inParallel(fleet.hosts.values(), async ({ name, ssh, become }) => {
    let opened: Site | undefined
    try {
      opened = await Site.connect({ name, ssh, become }, site)
      const agent = await opened.agent()
      if (!agent) return
      const { confirmed } = await agent.hello()
      if (confirmed?.fleet !== fleet.name) return
      live.specs.set(name, confirmed)
      live.rows.set(name, await readHistory(agent))
    } catch (error) {
      live.unasked.push({ host: name, why: (error as Error).message })
    } finally {
      await opened?.close().catch(() => {})
    }
  })
  return live
}

interface Known {
  fleet: Fleet
  entries: readonly JournalEntry[]
  record: readonly RecordEntry[]
  live: Live
  now: number
}

/** Puts the report together. */
export function compose({ fleet, entries, record, live, now }: Known): Report {
  const arrivals = allArrivals(record, live.rows)
  const services = [...fleet.services.values()]
  const times = [...entries, ...record].map(({ at }) => Date.parse(at))
  const rowTimes = [...arrivals.values()].flatMap((rows) => rows.map(({ to }) => to))
  const begun =
    times.length > 0 ? Math.min(...[times, rowTimes].map((all) => all.reduce((a, b) => Math.min(a, b), now))) : null
  const finished = services.every(({ name }) => lastStage(entries, name) === 'finalized')
  // Of a move that goes on the time since its last event belongs to it.
  const ended = begun === null ? null : finished ? times.reduce((a, b) => Math.max(a, b), begun) : now
  const span = begun !== null && ended !== null ? { from: begun, to: Math.max(ended, begun + 1000) } : null
  const rowsOf = ({ name, from, to }: Service) => ({
    old: (arrivals.get(from) ?? []).filter((row) => row.service === name),
    new: (arrivals.get(to) ?? []).filter((row) => row.service === name),
  })
  const states = statesOf(fleet, live.specs)
  const reported = services.map((service): ReportedService => {
    const rows = rowsOf(service)
    const stages = stageTimes(
      entries.flatMap((entry) =>
        entry.type === 'stage' && entry.service === service.name
          ? [{ at: Date.parse(entry.at), stage: entry.stage }]
          : [],
      ),
    )
    const state = live.specs.has(service.from) || live.specs.has(service.to) ? states.get(service.name) : undefined
    const proof = entries.findLast((entry) => entry.type === 'proof' && entry.service === service.name)
    return {
      name: service.name,
      from: service.from,
      to: service.to,
      strategy: service.strategy,
      listen: service.listen.map(
        ({ protocol, ports }) => `${protocol}/${ports.from}${ports.to === ports.from ? '' : `-${ports.to}`}`,
      ),
      stage:
        state === undefined || (state.stage === 'planned' && stages.at(-1)?.stage === 'finalized')
          ? (stages.at(-1)?.stage ?? 'planned')
          : state.stage,
      stages,
      byOld: totalOf(rows.old),
      byNew: totalOf(rows.new),
      arrivals:
        span && totalOf(rows.old) + totalOf(rows.new) > 0 ? buckets(rows, span.from, span.to, mostBuckets) : null,
      lastProof:
        proof?.type === 'proof'
          ? { at: Date.parse(proof.at), ok: proof.ok, preserved: proof.preserved, total: proof.total }
          : null,
    }
  })
  const all = services.map(rowsOf)
  const everything = { old: all.flatMap((rows) => rows.old), new: all.flatMap((rows) => rows.new) }
  return {
    fleet: fleet.name,
    madeAt: now,
    begun,
    ended,
    operators: [...new Set(record.flatMap((entry) => (entry.type === 'run' ? [entry.operator] : [])))],
    hosts: [...fleet.hosts.values()].map(({ name, addresses }) => ({
      name,
      role: roleOf(services, name),
      addresses: addresses.map((address) => address.public),
    })),
    services: reported,
    runs: runsOf(record),
    moves: movesOf(entries, record),
    verifications: record.flatMap((entry) =>
      entry.type === 'proofs' ? [{ at: Date.parse(entry.at), service: entry.service, proofs: entry.proofs }] : [],
    ),
    changes: changesOf(record),
    arrivals:
      span && totalOf(everything.old) + totalOf(everything.new) > 0
        ? buckets(everything, span.from, span.to, mostBuckets)
        : null,
    firewalls: [...fleet.hosts.values()].flatMap(({ name, ssh }) => {
      const own = services.filter((service) => service.to === name)
      return own.length > 0 ? [siteFirewall(name, own, parseSshTarget(ssh).port ?? 22)] : []
    }),
    closed: [...fleet.hosts.keys()].flatMap((name) => {
      const own = services.filter((service) => service.from === name)
      return own.length > 0 ? [closedPorts(name, own)] : []
    }),
    unasked: live.unasked,
  }
}

function roleOf(services: readonly Service[], host: Name): 'old' | 'new' | 'both' {
  const [old, fresh] = [services.some(({ from }) => from === host), services.some(({ to }) => to === host)]
  return old && fresh ? 'both' : old ? 'old' : 'new'
}

function runsOf(record: readonly RecordEntry[]): ReportedRun[] {
  const ends = new Map(record.flatMap((entry) => (entry.type === 'ran' ? [[entry.run, entry] as const] : [])))
  return record.flatMap((entry) => {
    if (entry.type !== 'run') return []
    const end = ends.get(entry.run)
    const { command, operator } = entry
    return [
      {
        at: Date.parse(entry.at),
        command,
        operator,
        outcome: end?.outcome ?? null,
        message: end?.message,
        ms: end?.ms ?? null,
      },
    ]
  })
}

/** Holds and drains belong to the switch of their service that was written down next. */
function movesOf(entries: readonly JournalEntry[], record: readonly RecordEntry[]): ReportedMove[] {
  return entries.flatMap((entry, i) => {
    if (entry.type !== 'switch') return []
    const at = Date.parse(entry.at)
    const before = entries.slice(0, i).findLast((other) => other.type === 'switch' && other.service === entry.service)
    const since = before ? Date.parse(before.at) : 0
    const own = record.filter(
      (other) =>
        'service' in other &&
        other.service === entry.service &&
        Date.parse(other.at) > since &&
        Date.parse(other.at) <= at,
    )
    const hold = own.findLast((other) => other.type === 'hold')
    const drain = own.findLast((other) => other.type === 'drain')
    return [
      {
        at,
        service: entry.service,
        to: entry.to,
        switchMs: entry.ms,
        hold: hold?.type === 'hold' ? { ms: hold.ms, clients: hold.clients, dropped: hold.dropped } : null,
        drain: drain?.type === 'drain' ? { ms: drain.ms, left: drain.left } : null,
      },
    ]
  })
}

function changesOf(record: readonly RecordEntry[]): Report['changes'] {
  const hosts = new Map<Name, { at: number; what: string; steps: string[] }[]>()
  for (const entry of record) {
    if (entry.type !== 'host') continue
    const events = hosts.get(entry.host) ?? []
    events.push({ at: Date.parse(entry.at), what: entry.what, steps: entry.steps })
    hosts.set(entry.host, events)
  }
  return [...hosts].map(([host, events]) => ({ host, events }))
}
