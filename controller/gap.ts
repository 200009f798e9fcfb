/**
 * The gap of a service that must never run twice, as the controller goes through it. Both agents know of it before
 * the service stops, and bring the service back by themselves if this run is lost (agent/gap/).
 */
import { randomBytes } from 'node:crypto'
import { encodeServiceSpec } from '../proto/codec.js'
import type * as wire from '../proto/gen/fleetmove.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { ServiceSpec } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import type { Service } from './config/fleet.js'
import { tunnelBetween } from './data.js'
import { inParallel } from './in-parallel.js'
import { environmentOf, healthChecks, healthMs, lifecycleMs, lifecycleOf, refuseFailure } from './lifecycle.js'
import { hostSpecs, type ServiceState } from './plan/host-specs.js'
import { timed } from './progress.js'
import { agentOf, type World } from './world.js'

/**
 * Until the agents act alone, from the last word of us: before the pause, while nobody waits, and beyond `hold`. They
 * hear of us only when less than `renewAt` of that is left, so that a run that dies in time is given up in time.
 */
const openLease = { ms: 10_000, renewAt: 8000 }
const gapLease = { ms: 5000, renewAt: 3000 }
const renewMs = 500

export type GapOutcome = 'origin' | 'target' | 'parked'

export interface Gap {
  /** Until new clients stop waiting by themselves, in ms; negative when they have. */
  remainingMs(): number
  /** The target may have run, and written data. */
  readonly started: boolean
  /** New clients wait on both hosts; what slips through is dropped. */
  pause(): Promise<void>
  stop(host: Name): Promise<void>
  start(): Promise<void>
  /** The target will not start it any more. @param stopped it ran there */
  yield(stopped: boolean): Promise<void>
  /** Runs on the origin again, and is healthy. */
  takeBack(): Promise<void>
  /** Everybody goes on to where it runs. */
  letGo(to: 'origin' | 'target'): Promise<void>
  /** Confirmed over new connections: nothing of the gap is left. */
  close(outcome: GapOutcome): Promise<void>
  /** The agents are told of this run no more. */
  end(): void
}

/**
 * Makes both hosts ready; nobody notices.
 * @throws FleetmoveError 'tunnel' when the agents don't reach each other.
 */
export async function openGap(world: World, service: Service, origin: Name, target: Name): Promise<Gap> {
  const id = randomBytes(8).toString('hex')
  const secret = randomBytes(32)
  const both = [target, origin]
  const stay: ServiceState = { stage: 'moving', active: origin }
  const next: ServiceState = { stage: 'moving', active: target }
  const [staying, moved] = [stay, next].map((state) => servicesIn(world, service, both, state)) as [Treated, Treated]
  const call = (host: Name, action: string, also: Partial<wire.GapRequest> = {}, ms = 0): Promise<wire.GapReply> =>
    agentOf(world, host).gap({ service: service.name, id, action, ...also }, ms)
  const plan = (host: Name, port: number): wire.GapPlan => ({
    role: host === target ? 'target' : 'origin',
    stay: encodeServiceSpec(staying.get(host)!),
    next: encodeServiceSpec(moved.get(host)!),
    lifecycle: lifecycleOf(service),
    environment: environmentOf(world, service, host),
    checks: healthChecks(world, service, host),
    timeoutMs: lifecycleMs,
    tunnel: tunnelBetween(world, host, host === target ? origin : target),
    port,
    secret,
  })
  let begun: number | undefined
  const lease = renewing(
    (host, forMs) => call(host, 'extend', { forMs }),
    () => (begun === undefined ? openLease : gapLease),
  )
  const open = async (host: Name, port: number): Promise<wire.GapReply> => {
    const reply = await call(host, 'open', { plan: plan(host, port), forMs: openLease.ms })
    lease.holds(host, openLease.ms)
    return reply
  }
  const means = new Map<Name, string>()
  try {
    const { port, means: ofTarget } = await open(target, 0)
    means.set(target, ofTarget)
    // The target's lease is renewed meanwhile: a slow origin takes its time to make ready.
    means.set(origin, (await open(origin, port)).means)
  } catch (error) {
    lease.end()
    if (means.has(target)) await call(target, 'close', { outcome: 'origin' }).catch(() => {})
    throw error
  }
  for (const [host, how] of means) {
    if (how === 'drop')
      world.progress.note(
        service.name,
        `the kernel of ${host} has no packet queue: clients are not kept there, they try again after 1, 3, 7… seconds`,
      )
  }

  let started = false
  let held = (_text: string): void => {}
  const remainingMs = (): number =>
    begun === undefined ? service.holdMs : service.holdMs - (performance.now() - begun)
  const settle = (outcome: GapOutcome): void => {
    const state = outcome === 'target' ? next : outcome === 'origin' ? stay : { ...stay, paused: true }
    for (const [host, treated] of servicesIn(world, service, both, state)) {
      const spec = world.specs.get(host)
      if (spec)
        world.specs.set(host, { ...spec, services: spec.services.map((s) => (s.name === service.name ? treated : s)) })
    }
    world.states = new Map([...world.states, [service.name, state]])
  }

  return {
    remainingMs,
    get started() {
      return started
    },
    async pause() {
      const again = begun !== undefined
      if (!again) held = world.progress.begin(service.name, 'hold new clients')
      begun ??= performance.now()
      const forMs = Math.round(again ? Math.max(gapLease.ms, remainingMs()) : service.holdMs)
      for (const host of both) lease.holds(host, forMs)
      await inParallel(both, (host) => call(host, 'pause', { forMs }))
    },
    stop: (host) =>
      timed(world.progress, service.name, `stop on ${host}`, async () =>
        refuseFailure(service, 'stop', host, await call(host, 'stop', {}, lifecycleMs)),
      ),
    async start() {
      started = true
      await timed(world.progress, service.name, `start on ${target}`, async () =>
        refuseFailure(service, 'start', target, await call(target, 'start', {}, lifecycleMs)),
      )
    },
    async yield(stopped) {
      await call(target, 'yield', { flag: stopped })
    },
    takeBack: () =>
      timed(world.progress, service.name, `back on ${origin}`, async () =>
        refuseFailure(service, 'start', origin, await call(origin, 'take', {}, 2 * lifecycleMs + healthMs)),
      ),
    async letGo(to) {
      const counts = await inParallel(both, (host) => call(host, 'let-go', { flag: to === 'target' }))
      const sum = (pick: (each: wire.GapReply) => number): number => counts.reduce((n, each) => n + pick(each), 0)
      const [clients, dropped] = [sum((each) => each.syns), sum((each) => each.dropped)]
      const ms = Math.round(performance.now() - (begun ?? performance.now()))
      world.record.add({ type: 'hold', service: service.name, ms, clients, dropped })
      held(
        `${clients} clients waited, at most ${(ms / 1000).toFixed(1)} s${dropped > 0 ? `; ${dropped} packets were too many to keep` : ''}`,
      )
    },
    async close(outcome) {
      // Another service's change on these hosts would put this one's old state back into our own books.
      await world.turns.take(both, async () => {
        // The target last: as long as the origin hasn't written the outcome down it may have to ask.
        for (const host of [origin, target])
          await world.sites.get(host)!.anew((agent) =>
            agent.gap({ service: service.name, id, action: 'close', outcome }).catch((error: unknown) => {
              // The origin has told it.
              if (host === origin || !(error instanceof FleetmoveError && error.code === 'stale')) throw error
            }),
          )
        settle(outcome)
      })
      lease.end()
    },
    end: () => lease.end(),
  }
}

/** Tells agents that this run lives, each before its lease runs out. */
function renewing(
  extend: (host: Name, forMs: number) => Promise<unknown>,
  lease: () => { ms: number; renewAt: number },
): { holds(host: Name, ms: number): void; end(): void } {
  const deadlines = new Map<Name, number>()
  const asked = new Set<Name>()
  const timer = setInterval(() => {
    const { ms, renewAt } = lease()
    for (const [host, deadline] of deadlines) {
      if (asked.has(host) || deadline - performance.now() > renewAt) continue
      const until = performance.now() + ms
      asked.add(host)
      extend(host, ms)
        .then(() => void deadlines.set(host, Math.max(until, deadlines.get(host) ?? 0)))
        .catch(() => {})
        .finally(() => asked.delete(host))
    }
  }, renewMs)
  timer.unref()
  return {
    holds: (host, ms) => void deadlines.set(host, performance.now() + ms),
    end: () => clearInterval(timer),
  }
}

/** How each host treats the service. */
type Treated = Map<Name, ServiceSpec>

function servicesIn(world: World, service: Service, hosts: readonly Name[], state: ServiceState): Treated {
  const states = new Map([...world.states, [service.name, state] as const])
  const { fleet, locals, pairs, generation, specs: held } = world
  const specs = hostSpecs({ fleet, locals, pairs, states, generation, held }, hosts)
  return new Map(
    hosts.map((host) => {
      const found = specs.get(host)?.services.find((each) => each.name === service.name)
      if (found) return [host, found]
      throw new FleetmoveError('internal', { message: `${service.name} is not known on ${host}` })
    }),
  )
}
