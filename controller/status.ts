/** `fleetmove status`: where every service stands, as the hosts tell. */
import type * as wire from '../proto/gen/fleetmove.js'
import type { Stage } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import { inParallel } from './in-parallel.js'
import { type JournalEntry, lastStage, readJournal } from './journal.js'
import type { OldestConnection } from './plan/drain-text.js'
import { type IngressRates, ingressRates } from './rates.js'
import { selectServices } from './select-services.js'
import { type Context, withWorld } from './world.js'

/** More than anybody reads; the total is told beside it. */
const maxArrivals = 20

export interface FleetStatus {
  fleet: Name
  services: ServiceLine[]
  tunnels: TunnelLine[]
  /** Hosts whose kernel differs from what it should be, with the steps that would mend it. */
  drift: { host: Name; steps: string[] }[]
  /** Hosts on which something else had changed what is ours, and the agent has put it back. */
  mended: { host: Name; times: number; lastMsAgo: number; steps: string[] }[]
  /** Steps that something else on the host undoes again and again. */
  fighting: { host: Name; steps: string[] }[]
  /** Hosts whose agent can't watch the kernel, and why. */
  blind: { host: Name; reasons: string[] }[]
  /** What hosts were to write down (log: in fleet.yaml) and don't, and why. */
  unlogged: { host: Name; reasons: string[] }[]
  /** Hosts that a run has locked. */
  locked: { host: Name; id: string; owner: string; command: string; sinceMs: number }[]
  /** How full connection tracking is on each host, and how much of it goes through a tunnel. */
  tracked: { host: Name; entries: number; most: number; own: number; shed: number; shedding: boolean }[]
  /** Hosts without an agent. */
  absent: Name[]
}

export interface ServiceLine extends IngressRates {
  name: Name
  stage: Stage
  active: Name
  /** It answers nowhere: stopped on one host and not started on the other; new clients are dropped, not refused. */
  paused: boolean
  from: Name
  to: Name
  /** Clients that `to` answers already: a share of all, and named ones. Absent unless it is a canary. */
  canary?: { percent: number; prefixes: readonly string[] }
  /** Connections opened since `up`: by the address of the host that forwards, and by the active host's own. */
  forwarded: number
  served: number
  /** Open on the host that new clients don't reach any more: what a drain waits for. */
  standing: number
  /** Of those: who they are, the most connections first, and the one that has stood longest. */
  standingClients: { client: string; connections: number }[]
  oldest: OldestConnection | null
  /** Open now, by the forwarding host's address. */
  established: number
  clientsByForwarder: number
  arrivals: wire.Arrival[]
  lastProof: { at: string; ok: boolean; preserved: number; total: number } | null
}

export interface TunnelLine {
  a: Name
  b: Name
  driver: string
  mtu: number
  up: boolean
  rttMs: number
  /** Why it is down, as far as the hosts know; '' while it is up. */
  detail: string
  /** Since the last answer; null while it is up. */
  downForMs: number | null
  /** What new clients get while it is down. */
  unreachable: 'hold' | 'reset'
  /** Openings of clients that met it silent. */
  unanswered: number
  /** Larger packets vanish in it, though its MTU would let them pass; null: none do. */
  fits: number | null
}

/** @param stages only services in one of these; all of them when empty */
export function status(
  context: Context,
  names: readonly string[],
  stages: readonly Stage[] = [],
): Promise<FleetStatus> {
  const named = selectServices(context.fleet, names)
  return withWorld(context, async (world) => {
    const replies = new Map(
      await inParallel(world.agents.values(), async (agent) => [agent.host, await agent.status(maxArrivals)] as const),
    )
    const entries = await readJournal(world.fleet)
    const services = named.map((service): ServiceLine => {
      const { stage, active, paused, canary } = world.states.get(service.name)!
      const forwarder = active === service.from ? service.to : service.from
      const finalized = stage === 'planned' && lastStage(entries, service.name) === 'finalized'
      const of = (host: Name) => replies.get(host)?.services.find((each) => each.name === service.name)
      const left = of(paused ? active : forwarder)
      return {
        name: service.name,
        stage: finalized ? 'finalized' : stage,
        active: finalized ? service.to : active,
        paused: paused === true,
        from: service.from,
        to: service.to,
        ...(canary ? { canary: { percent: canary.perMille / 10, prefixes: canary.prefixes } } : {}),
        forwarded: of(forwarder)?.forwarded ?? 0,
        served: of(active)?.served ?? 0,
        ...ingressRates(of(service.from), of(service.to)),
        standing: left?.standing ?? 0,
        standingClients: left?.standingClients ?? [],
        oldest: left?.oldest ?? null,
        established: of(forwarder)?.establishedForwarded ?? 0,
        clientsByForwarder: of(forwarder)?.arrivalsTotal ?? 0,
        arrivals: of(forwarder)?.arrivals ?? [],
        lastProof: lastProof(entries, service.name),
      }
    })
    return {
      fleet: world.fleet.name,
      services: services.filter(({ stage }) => stages.length === 0 || stages.includes(stage)),
      tunnels: world.pairs.map(({ a, b, ends }) => {
        const end = ends[a]!
        const seen = [a, b].map((host) => replies.get(host)?.tunnels.find((tunnel) => tunnel.index === end.index))
        // Of two ends the one that has heard nothing for longer knows more.
        const down = seen
          .filter((tunnel) => !tunnel?.up)
          .sort((one, other) => (other?.downForMs ?? 0) - (one?.downForMs ?? 0))
        const reasons = [a, b].flatMap((host, i) => (seen[i]?.up === false ? [`${host}: ${seen[i].detail}`] : []))
        const sizes = seen.flatMap((tunnel) => tunnel?.fits || [])
        return {
          a,
          b,
          driver: end.driver,
          mtu: end.mtu,
          up: seen.every((tunnel) => tunnel?.up),
          rttMs: Math.max(...seen.map((tunnel) => tunnel?.rttMs ?? 0)),
          detail: reasons.join('; '),
          downForMs: down.length > 0 ? (down[0]?.downForMs ?? 0) : null,
          unreachable: end.unreachable ?? 'hold',
          unanswered: seen.reduce((sum, tunnel) => sum + (tunnel?.unanswered ?? 0), 0),
          fits: sizes.length > 0 ? Math.min(...sizes) : null,
        }
      }),
      drift: [...replies].flatMap(([host, reply]) => (reply.drift.length > 0 ? [{ host, steps: reply.drift }] : [])),
      mended: [...replies].flatMap(([host, { mended }]) => (mended ? [{ host, ...mended }] : [])),
      fighting: [...replies].flatMap(([host, { fighting }]) =>
        fighting.length > 0 ? [{ host, steps: fighting }] : [],
      ),
      blind: [...replies].flatMap(([host, { blind }]) => (blind.length > 0 ? [{ host, reasons: blind }] : [])),
      unlogged: [...replies].flatMap(([host, { unlogged }]) =>
        unlogged.length > 0 ? [{ host, reasons: unlogged }] : [],
      ),
      locked: [...replies].flatMap(([host, { lock }]) => (lock ? [{ host, ...lock }] : [])),
      tracked: [...replies].flatMap(([host, { tracked }]) => {
        if (!tracked) return []
        const { entries, most, own, shed, shedding } = tracked
        return [{ host, entries, most, own, shed, shedding }]
      }),
      absent: [...world.fleet.hosts.keys()].filter((host) => !world.agents.has(host)),
    }
  })
}

/** Of a service, as this machine has it in its journal. */
export function lastProof(entries: readonly JournalEntry[], service: Name): ServiceLine['lastProof'] {
  const last = entries.filter((entry) => entry.type === 'proof' && entry.service === service).at(-1)
  if (last?.type !== 'proof') return null
  const { at, ok, preserved, total } = last
  return { at, ok, preserved, total }
}
