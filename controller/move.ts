import type { Name } from '../proto/model/names.js'
import type { CanaryPlan } from './canary.js'
import type { Service } from './config/fleet.js'
import { journal } from './journal.js'
import type { Moved } from './move-state.js'
import { recreateMove } from './recreate.js'
import { rollingMove } from './rolling.js'
import { giveBack, takeOver } from './take-over.js'
import type { World } from './world.js'

export interface MoveOptions {
  /** Rolling only. */
  canary?: CanaryPlan | undefined
  /** Recreate only: data that is on the target already, and not by us, may be lost. */
  overwriteData?: boolean
}

/**
 * Moves a service to `target`, one of its two hosts, by its strategy.
 * @throws FleetmoveError 'rolled-back' when it stays where it was
 */
export async function moveService(
  world: World,
  service: Service,
  target: Name,
  { canary, overwriteData = false }: MoveOptions = {},
): Promise<Moved> {
  if (world.states.get(service.name)!.active !== target)
    await journal(world.fleet, { type: 'stage', service: service.name, stage: 'moving' })
  // Before it moves back: the new host can't forward by an address that it has itself.
  const cut = target === service.from ? await giveBack(world, service) : 0
  const moved = await moveBy(world, service, target, canary, overwriteData)
  if (moved.switchMs > 0) {
    await journal(world.fleet, { type: 'switch', service: service.name, to: target, ms: moved.switchMs })
  }
  const { stage } = world.states.get(service.name)!
  await journal(world.fleet, { type: 'stage', service: service.name, stage })
  const addresses = target === service.to ? await takeOver(world, service) : []
  return { ...moved, undrained: moved.undrained + cut, ...(addresses.length > 0 ? { addresses } : {}) }
}

async function moveBy(
  world: World,
  service: Service,
  target: Name,
  canary: CanaryPlan | undefined,
  overwriteData: boolean,
): Promise<Moved> {
  const before = world.states.get(service.name)!
  // It has moved, and an address has stayed behind.
  if (before.stage === 'moved' && target === service.to)
    return { service: service.name, active: target, switchMs: 0, undrained: 0 }
  try {
    return service.strategy === 'recreate'
      ? await recreateMove(world, service, target, overwriteData)
      : await rollingMove(world, service, target, canary)
  } catch (error) {
    // It may have been brought back, or stand in the middle.
    const { stage } = world.states.get(service.name)!
    await journal(world.fleet, { type: 'stage', service: service.name, stage }).catch(() => {})
    throw error
  }
}
