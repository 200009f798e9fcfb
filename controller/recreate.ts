/**
 * The move of a service that must never run twice: copy while it runs, hold new clients, drain, stop, last
 * difference, start, health, switch, release. In either direction.
 */
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import { moveBoot } from './boot.js'
import { change } from './change.js'
import type { Service } from './config/fleet.js'
import { goDark } from './dark.js'
import { copyData, refuseLostData } from './data.js'
import { drain } from './drain.js'
import { type Hold, holdService } from './hold.js'
import { awaitHealth, healthMs, runHook, runLifecycle } from './lifecycle.js'
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
  let gapMs = 0
  let undrained = 0
  if (before.active !== target || before.paused) {
    const rest: ServiceState = { stage: resting, active: origin }
    // A run that was killed in the gap left it stopped: it stays paused until it answers somewhere.
    if (!before.paused) await prepare(world, service, target, rest, overwrite)
    const gap: Gap = { hold: undefined, started: before.paused === true }
    try {
      if (!before.paused) await goDark(world, service, origin, { stage: 'moving', active: origin })
      gap.hold = await holdService(world, service)
      const paused = await pause(world, service, origin)
      // Not before: the origin's own processes aren't held, and come until the pause stands.
      undrained = await drain(world, service, origin, { atMostMs: gap.hold.remainingMs() * drainShare, held: true })
      if (undrained > 0) await agentOf(world, origin).reset(service.name)
      const begun = performance.now()
      await runLifecycle(world, service, 'stop', origin)
      await copyData(world, service, origin, target, { mode: 'final', overwrite })
      gap.started = true
      await runLifecycle(world, service, 'start', target)
      const wayBackMs = performance.now() - begun + changeMs
      const leftMs = Math.round(gap.hold.remainingMs() - wayBackMs)
      const withinMs = Math.max(leastHealthMs, Math.min(healthMs, leftMs))
      await awaitHealth(world, service, target, { quiet: false, withinMs })
      await paused.confirmed
      gapMs = await pointAndRelease(world, service, target, gap.hold, begun)
    } catch (cause) {
      await goBack(world, service, target, rest, gap)
      throw rolledBack(service, origin, cause)
    }
  }
  await moveBoot(world, service, target)
  await setState(world, service, { stage: finished, active: target })
  await runHook(world, service, finished === 'moved' ? 'after_move' : 'on_rollback', target)
  return { service: service.name, active: target, switchMs: gapMs, undrained }
}

interface Gap {
  hold: Hold | undefined
  /** The target may have run, and written data. */
  started: boolean
}

/** While it runs and nobody waits: a failure here changes nothing for clients. */
async function prepare(
  world: World,
  service: Service,
  target: Name,
  rest: ServiceState,
  overwrite: boolean,
): Promise<void> {
  const origin = rest.active
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
  } catch (cause) {
    await setState(world, service, rest)
    throw rolledBack(service, origin, cause)
  }
}

/** Resolves when both hosts drop what slips through the hold; clients wait, so the confirmation goes on beside. */
async function pause(world: World, service: Service, origin: Name): Promise<{ confirmed: Promise<unknown> }> {
  let applied = (): void => {}
  const standing = new Promise<void>((resolve) => {
    applied = resolve
  })
  const state = { stage: 'moving' as const, active: origin, paused: true }
  const confirmed = change(world, {
    ...{ states: new Map([[service.name, state]]), soon: true },
    check: async () => applied(),
  })
  await Promise.race([standing, confirmed])
  // Whoever awaits it later is told of its failure then.
  confirmed.catch(() => {})
  return { confirmed }
}

async function pointAndRelease(
  world: World,
  service: Service,
  target: Name,
  hold: Hold,
  begun: number,
): Promise<number> {
  let ms = 0
  const end = world.progress.begin(service.name, `switch to ${target}`)
  await change(world, {
    states: new Map([[service.name, { stage: 'moving', active: target }]]),
    soon: true,
    check: async (wanted) => {
      // Nobody waits for our proofs: both hosts point to the new one already.
      await purgeUdp(world, service)
      await hold.release()
      ms = performance.now() - begun
      end(`nobody answered for ${ms.toFixed(0)} ms`)
      assertVerified(await verifyServices(world, [service], wanted), 'the switch was taken back')
    },
  })
  return ms
}

/** Running on its host again, before new clients are let go to it. */
async function goBack(world: World, service: Service, target: Name, rest: ServiceState, gap: Gap): Promise<void> {
  try {
    if (gap.started) {
      // Who was let go to the target before it was found bad. It is no reason to leave the service stopped.
      await settle(world, service).catch((error: Error) => world.progress.note(service.name, error.message))
      await runLifecycle(world, service, 'stop', target)
      await refuseLostData(world, service, target)
    }
    await runLifecycle(world, service, 'start', rest.active)
    await awaitHealth(world, service, rest.active)
    await change(world, {
      ...{ states: new Map([[service.name, rest]]), soon: true },
      // Clients wait no longer than for this. Undone, they are dropped again, as if they had never been let go.
      check: async () => gap.hold?.release(),
    })
    await runHook(world, service, 'on_rollback', rest.active)
  } catch (cause) {
    const known = cause instanceof FleetmoveError ? cause : undefined
    throw new FleetmoveError(known?.code ?? 'internal', {
      message: `${service.name} could not be brought back to ${rest.active}, and answers nowhere now: ${(cause as Error).message}`,
      hint: `${known?.hint ? `${known.hint}; ` : ''}new clients are dropped, not refused, until one of advance and rollback succeeds`,
      ...(known?.host === undefined ? {} : { host: known.host }),
      cause,
    })
  } finally {
    await gap.hold?.release()
  }
}
