/** The move of a service that may run on both hosts at once: start, health, switch, verify, drain, stop. In either direction. */
import type { Name } from '../proto/model/names.js'
import { moveBoot } from './boot.js'
import { type CanaryPlan, canary } from './canary.js'
import { change } from './change.js'
import type { Service } from './config/fleet.js'
import { goDark } from './dark.js'
import { drain } from './drain.js'
import { awaitHealth, runHook, runLifecycle } from './lifecycle.js'
import { type Moved, rolledBack, setState } from './move-state.js'
import type { ServiceState } from './plan/host-specs.js'
import { timed } from './progress.js'
import { settle } from './settle.js'
import { purgeUdp } from './udp.js'
import { assertVerified, verifyServices } from './verify.js'
import { agentOf, type World } from './world.js'

/**
 * Moves a rolling service to `target`; established connections stay where they are until they end or
 * the drain is over.
 * @throws FleetmoveError 'rolled-back' when start, health or verification failed: then the service is
 *   where it was, and what was started on `target` is stopped again.
 */
export async function rollingMove(
  world: World,
  service: Service,
  target: Name,
  canaryPlan?: CanaryPlan,
): Promise<Moved> {
  const origin = target === service.to ? service.from : service.to
  const before = world.states.get(service.name)!
  const finished = target === service.to ? ('moved' as const) : ('forwarding' as const)
  let switchMs = 0
  let dark: Pick<ServiceState, 'dark'> = {}
  if (before.active !== target) {
    // The intent first: whoever runs the command again after a crash knows what was under way.
    await setState(world, service, { stage: 'moving', active: origin })
    try {
      await runHook(world, service, 'before_move', origin)
      await runLifecycle(world, service, 'start', target)
      await awaitHealth(world, service, target)
      if (canaryPlan) await canary(world, service, canaryPlan)
      dark = await goDark(world, service, origin, { ...world.states.get(service.name)!, stage: 'moving' })
      switchMs = await point(world, service, target, dark)
    } catch (cause) {
      await giveUp(world, service, target, { stage: finished === 'moved' ? 'forwarding' : 'moved', active: origin })
      throw rolledBack(service, origin, cause)
    }
  }
  // Clients that a canary had sent over come back first.
  if (before.canary && before.active === target) await setState(world, service, { stage: 'moving', active: target })
  // First, and not after the drain: as long as they talk they would stay, and be waited for.
  await purgeUdp(world, service, { settle: true })
  await settle(world, service)
  const undrained = await drain(world, service, origin)
  if (undrained > 0 && service.drainThen === 'reset') await reset(world, service, origin)
  await runLifecycle(world, service, 'stop', origin)
  await moveBoot(world, service, target)
  await setState(world, service, { stage: finished, active: target })
  await runHook(world, service, finished === 'moved' ? 'after_move' : 'on_rollback', target)
  return { service: service.name, active: target, switchMs, undrained }
}

/** New connections to `target`, on both hosts, in one transaction each; back again unless probes prove it. */
async function point(world: World, service: Service, target: Name, dark: Pick<ServiceState, 'dark'>): Promise<number> {
  const begun = performance.now()
  let ms = 0
  const end = world.progress.begin(service.name, `switch to ${target}`)
  await change(world, {
    states: new Map([[service.name, { stage: 'moving', active: target, ...dark }]]),
    check: async (wanted) => {
      ms = performance.now() - begun
      end(`${ms.toFixed(0)} ms`)
      const verification = await verifyServices(world, [service], wanted)
      assertVerified(verification, 'the switch was taken back')
    },
  })
  return ms
}

async function giveUp(world: World, service: Service, target: Name, state: ServiceState): Promise<void> {
  try {
    // Connections that reached the target while it was on trial end with it; the target's own clients
    // are forwarded again first.
    await setState(world, service, state)
    await settle(world, service)
    await runLifecycle(world, service, 'stop', target)
    await runHook(world, service, 'on_rollback', state.active)
  } catch (error) {
    world.progress.note(service.name, `cleaning up on ${target} failed: ${(error as Error).message}`)
  }
}

async function reset(world: World, service: Service, host: Name): Promise<void> {
  const work = (): Promise<number> => agentOf(world, host).reset(service.name)
  await timed(world.progress, service.name, `reset on ${host}`, work, (ended) => `${ended} connections`)
}
