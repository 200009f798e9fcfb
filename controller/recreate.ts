/**
 * The move of a service that must never run twice: copy while it runs, hold new clients, drain, stop, last
 * difference, start, health, switch, release. In either direction.
 */
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import { moveBoot } from './boot.js'
import type { Service } from './config/fleet.js'
import { goDark } from './dark.js'
import { copyData, refuseLostData } from './data.js'
import { drain } from './drain.js'
import { type Gap, openGap } from './gap.js'
import { inParallel } from './in-parallel.js'
import { awaitHealth, healthMs, runHook } from './lifecycle.js'
import { type Moved, rolledBack, setState } from './move-state.js'
import type { ServiceState } from './plan/host-specs.js'
import { settle } from './settle.js'
import { purgeUdp } from './udp.js'
import { assertVerified, verifyServices } from './verify.js'
import { agentOf, type World } from './world.js'

/** Of the hold, what drain may use; the rest is for stop, the last copy and the start. */
const drainShare = 0.5
/** For the change by which clients are let go to the origin again, if they must be. */
const changeMs = 1000
/** What a start gets in any case, though a long copy has used the hold up. */
const leastHealthMs = 5000

/**
 * @returns the gap in which nobody answered as `switchMs`.
 * @throws FleetmoveError 'rolled-back' when it stays on its host, running there again; 'conflict' when the
 *   new host has written data that going back would lose: then it is stopped on both, and says so.
 */
export async function recreateMove(world: World, service: Service, target: Name, overwrite: boolean): Promise<Moved> {
  const origin = target === service.to ? service.from : service.to
  const before = world.states.get(service.name)!
  const resting = target === service.to ? ('forwarding' as const) : ('moved' as const)
  const finished = target === service.to ? ('moved' as const) : ('forwarding' as const)
  const move: Move = { world, service, origin, target, overwrite, rest: { stage: resting, active: origin } }
  let done = { gapMs: 0, undrained: 0 }
  if (before.active !== target || before.paused) {
    // One that an earlier run has left stopped stays paused until it answers somewhere.
    if (!before.paused) await prepare(move)
    done = await throughGap(move, before.paused === true)
  }
  await moveBoot(world, service, target)
  await setState(world, service, { stage: finished, active: target })
  await runHook(world, service, finished === 'moved' ? 'after_move' : 'on_rollback', target)
  return { service: service.name, active: target, switchMs: done.gapMs, undrained: done.undrained }
}

interface Move {
  world: World
  service: Service
  origin: Name
  target: Name
  overwrite: boolean
  /** Where it is when nothing comes of it. */
  rest: ServiceState
}

/** While it runs and nobody waits: a failure here changes nothing for clients. */
async function prepare({ world, service, origin, target, overwrite, rest }: Move): Promise<void> {
  await setState(world, service, { stage: 'moving', active: origin })
  try {
    const { passes } = await copyData(world, service, origin, target, { mode: 'live', overwrite })
    const last = passes.at(-1)?.durationMs ?? 0
    if (last > service.holdMs / 2) {
      world.progress.note(
        service.name,
        `the last difference may take ${Math.ceil(last / 1000)} s of the ${service.holdMs / 1000} s of hold: clients may have to try again`,
      )
    }
    await runHook(world, service, 'before_move', origin)
    await goDark(world, service, origin, { stage: 'moving', active: origin })
  } catch (cause) {
    await setState(world, service, rest)
    throw rolledBack(service, origin, cause)
  }
}

async function throughGap(move: Move, parked: boolean): Promise<{ gapMs: number; undrained: number }> {
  const { world, service, origin, target, overwrite, rest } = move
  let gap: Gap
  try {
    gap = await openGap(world, service, origin, target)
  } catch (cause) {
    if (!parked) await setState(world, service, rest)
    throw rolledBack(service, origin, cause)
  }
  try {
    await gap.pause()
    // Not before: the origin's own processes aren't held, and come until the pause stands.
    const undrained = await drain(world, service, origin, { atMostMs: gap.remainingMs() * drainShare, held: true })
    if (undrained > 0) await agentOf(world, origin).reset(service.name)
    const begun = performance.now()
    await gap.stop(origin)
    await copyData(world, service, origin, target, { mode: 'final', overwrite })
    await gap.start()
    const wayBackMs = performance.now() - begun + changeMs
    const leftMs = Math.round(gap.remainingMs() - wayBackMs)
    const withinMs = Math.max(leastHealthMs, Math.min(healthMs, leftMs))
    await awaitHealth(world, service, target, { quiet: false, withinMs })
    const gapMs = await release(move, gap, begun)
    return { gapMs, undrained }
  } catch (cause) {
    if (await goBack(move, gap, parked, cause)) throw rolledBack(service, origin, cause)
    world.progress.note(service.name, `${target} has it: the hosts have ended the move among themselves`)
    return { gapMs: 0, undrained: 0 }
  } finally {
    gap.end()
  }
}

async function release({ world, service, target }: Move, gap: Gap, begun: number): Promise<number> {
  const end = world.progress.begin(service.name, `switch to ${target}`)
  await gap.letGo('target')
  const ms = performance.now() - begun
  end(`nobody answered for ${ms.toFixed(0)} ms`)
  // Nobody waits for our proofs: both hosts point to the new one already.
  await purgeUdp(world, service)
  const states = new Map([...world.states, [service.name, { stage: 'moving' as const, active: target }]])
  assertVerified(await verifyServices(world, [service], { states, pairs: world.pairs }), 'the switch was taken back')
  await gap.close('target')
  return ms
}

/**
 * Running on its host again, before new clients are let go to it.
 * @returns false where the hosts have brought the move to its end without us meanwhile
 */
async function goBack(
  { world, service, origin, target, rest }: Move,
  gap: Gap,
  parked: boolean,
  why: unknown,
): Promise<boolean> {
  try {
    // New clients must not meet the one that stops; nor may the hosts act meanwhile.
    await gap.pause()
    if (gap.started || parked) {
      // Who was let go to the target before it was found bad. It is no reason to leave the service stopped.
      await settle(world, service).catch((error: Error) => world.progress.note(service.name, error.message))
      if (gap.started) await gap.stop(target)
      try {
        await refuseLostData(world, service, target)
      } catch (lost) {
        await gap.close('parked')
        throw lost
      }
    }
    await gap.yield(gap.started)
    await gap.takeBack()
    await gap.letGo('origin')
    await gap.close('origin')
  } catch (cause) {
    const where = isOver(cause) ? await settledOn(world, service) : undefined
    if (where === undefined) throw lostSight(service, origin, cause, why)
    if (where === target) return false
  }
  await setState(world, service, rest)
  await runHook(world, service, 'on_rollback', origin)
  return true
}

const isOver = (cause: unknown): boolean =>
  (cause instanceof AggregateError ? cause.errors : [cause]).every(
    (each) => each instanceof FleetmoveError && each.code === 'stale',
  )

/** The host on which the agents have let the service be; undefined while that isn't over. */
async function settledOn(world: World, service: Service): Promise<Name | undefined> {
  const states = await inParallel([service.from, service.to], (host) => agentOf(world, host).hello())
  if (states.some(({ gaps }) => gaps.some((gap) => gap.service === service.name))) return undefined
  const [one, other] = states.map(({ confirmed }) => confirmed?.services.find((each) => each.name === service.name))
  if (!one || one.active !== other?.active) return undefined
  for (const { confirmed } of states) world.specs.set(confirmed!.host, confirmed!)
  world.states = new Map([...world.states, [service.name, { stage: one.stage, active: one.active }]])
  return one.active
}

function lostSight(service: Service, origin: Name, cause: unknown, why: unknown): FleetmoveError {
  const known = cause instanceof FleetmoveError ? cause : undefined
  const host = known?.host === undefined ? {} : { host: known.host }
  const { message } = cause as Error
  // Not even asked: the hosts have settled it, or will.
  if (known && ['stale', 'unreachable', 'locked', 'timeout'].includes(known.code)) {
    return new FleetmoveError(known.code, {
      message: `${service.name} could not be moved (${(why as Error).message}), and this run can't bring it back itself: ${message}; the hosts see to it among themselves that it runs on exactly one of them`,
      hint: known.hint ?? 'look at `fleetmove status`, then run the command again',
      ...host,
      cause,
    })
  }
  return new FleetmoveError(known?.code ?? 'internal', {
    message: `${service.name} could not be brought back to ${origin}, and answers nowhere now: ${message}`,
    hint: `${known?.hint ? `${known.hint}; ` : ''}new clients are dropped, not refused, until one of advance and rollback succeeds`,
    ...host,
    cause,
  })
}
