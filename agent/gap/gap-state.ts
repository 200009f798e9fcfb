/**
 * The gap of a service that must never run twice: stopped on one host, not yet started on the other. What each
 * agent remembers of it, and what may follow what. Pure.
 *
 * The target's agent alone decides where the service may run: it takes exactly one of two irrevocable steps,
 * `started` or `yielded`, and writes it down before it acts. The origin starts its service again only when it
 * has learnt of `yielded`.
 */
import type { ServiceAction, ServiceRoute, ServiceSpec } from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'
import type { HealthCheck } from '../health.js'
import type { LifecycleMeans } from '../lifecycle.js'

export type GapRole = 'origin' | 'target'
/**
 * - open: nothing has happened yet.
 * - paused: new clients wait. On the origin the service may be stopped.
 * - started, yielded (target): it runs here or may; it never will for this move.
 * - gone, back (origin): the same, as the origin knows it.
 */
export type GapPhase = 'open' | 'paused' | 'started' | 'yielded' | 'gone' | 'back'

/** What is told beforehand, and never changes. */
export interface GapPlan {
  role: GapRole
  /** How this host treats the service if it stays on the origin, and once it is on the target. */
  stay: ServiceSpec
  next: ServiceSpec
  /** Starts and stops it on this host. */
  lifecycle: LifecycleMeans
  environment: Readonly<Record<string, string>>
  /** All must pass. */
  checks: readonly HealthCheck[]
  /** The longest that a start or a stop may take. */
  timeoutMs: number
  tunnel: number
  /** Of the target's tunnel address. */
  port: number
  /** Base64, of both agents for this move. */
  secret: string
}

export interface Gap {
  service: Name
  /** Random, one a move. */
  id: string
  plan: GapPlan
  phase: GapPhase
  /** Clients go on to where the service is. */
  letGo: boolean
  /** Target: the origin counts on our answer. It has said so by the tunnel, and not yet that it knows the outcome. */
  met: boolean
  /** It has acted alone: the move's own controller may change nothing of it any more. */
  alone: boolean
  /** Clients go on, and the rules for the move are gone: the outcome's own have been loaded. */
  settled?: boolean
  /** When the agent acts alone: milliseconds of the boot's monotonic clock; in another boot it is over. */
  deadline: { boot: string; atMs: number }
}

/** What a host is told or finds out. `yield-stopped`: it was started, and has been stopped again. */
export type GapEvent = 'pause' | 'stop' | 'start' | 'yield' | 'yield-stopped' | 'learn-yielded' | 'learn-started'

const table: Record<GapRole, Partial<Record<GapPhase, Partial<Record<GapEvent, GapPhase>>>>> = {
  origin: {
    open: { pause: 'paused', 'learn-yielded': 'back' },
    paused: { pause: 'paused', stop: 'paused', 'learn-yielded': 'back', 'learn-started': 'gone' },
    gone: { pause: 'gone', 'learn-started': 'gone', 'learn-yielded': 'back' },
    back: { pause: 'back', 'learn-yielded': 'back' },
  },
  target: {
    open: { pause: 'paused', yield: 'yielded', 'yield-stopped': 'yielded' },
    paused: { pause: 'paused', start: 'started', yield: 'yielded', 'yield-stopped': 'yielded' },
    started: { pause: 'started', stop: 'started', start: 'started', 'yield-stopped': 'yielded' },
    yielded: { pause: 'yielded', stop: 'yielded', yield: 'yielded', 'yield-stopped': 'yielded' },
  },
}

const forControllers: readonly GapEvent[] = ['pause', 'stop', 'start', 'yield-stopped']

/** @returns the phase that follows; null where that must not happen. */
export function afterEvent(
  { plan, phase, alone }: Pick<Gap, 'plan' | 'phase' | 'alone'>,
  event: GapEvent,
): GapPhase | null {
  return alone && forControllers.includes(event) ? null : (table[plan.role][phase]?.[event] ?? null)
}

/** Whether the service is the target's, as far as this host knows; null while it is open. */
export function moved({ phase }: Pick<Gap, 'phase'>): boolean | null {
  if (phase === 'started' || phase === 'gone') return true
  return phase === 'yielded' || phase === 'back' ? false : null
}

/** What an agent whose controller is lost does next. */
export type GapStep =
  /** Nothing has come of it: forget it. */
  | 'forget'
  /** It was never stopped, and can't be any more. */
  | 'give-up'
  /** Ask the target, until it answers. */
  | 'ask'
  /** See to it that the service runs here and is healthy, then let clients go. */
  | 'take'
  /** Tell the target how it has ended, until it has heard. */
  | 'tell'
  /** The origin knows the outcome and acts by it: this host follows, and forgets the gap. */
  | 'end'
  /** Nothing before the origin asks or tells. */
  | 'wait'

export function nextStep({ plan, phase, letGo, met }: Pick<Gap, 'plan' | 'phase' | 'letGo' | 'met'>): GapStep {
  if (plan.role === 'target') {
    if (!met) return phase === 'open' ? 'forget' : 'end'
    return phase === 'started' && !letGo ? 'take' : 'wait'
  }
  if (phase === 'open') return 'give-up'
  if (letGo) return 'tell'
  // Gone, and paused again: a controller was on the way back, and may have come as far as the yield.
  return phase === 'back' ? 'take' : 'ask'
}

/**
 * The service as this host is to treat it now. The rules for both outcomes stand from the beginning until one is
 * settled: what changes while clients wait are a few elements (plan/overrides.ts). Whatever else the outcome brings
 * along is no matter of where clients go, and comes when it is settled.
 */
export function inGap(
  service: ServiceSpec,
  { plan, phase, letGo, settled }: Pick<Gap, 'plan' | 'phase' | 'letGo' | 'settled'>,
): ServiceSpec {
  const { stay, next } = plan
  const outcome = phase === 'started' || phase === 'gone' ? next : stay
  if (letGo && settled) return outcome
  // Who is stopped on both hosts already stays paused.
  const now = phase === 'open' ? service : letGo ? outcome : parked(stay)
  return {
    ...(phase === 'open' ? service : stay),
    ...{ stage: now.stage, active: now.active },
    routes: stay.routes.map((route, i) => ({
      ...route,
      action: now.routes[i]!.action,
      ready: { dispatched: actionOf(route), standby: actionOf(next.routes[i]!) },
    })),
  }
}

/** A plan's outcomes answer somewhere. */
function actionOf({ action }: ServiceRoute): ServiceAction {
  if (action.kind === 'pause') throw new Error('an outcome of a move is a pause')
  return action
}

/** Stopped on both hosts, and nothing decided. */
export const parked = (service: ServiceSpec): ServiceSpec => ({
  ...service,
  routes: service.routes.map((route) => ({ ...route, action: { kind: 'pause' } })),
})
