/** What the ways to move a service have in common. */
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import { change } from './change.js'
import type { Service } from './config/fleet.js'
import type { ServiceState } from './plan/host-specs.js'
import type { World } from './world.js'

export interface Moved {
  service: Name
  /** Where it answers now. */
  active: Name
  /** Rolling: how long the switch itself took on both hosts. Recreate: how long nobody answered. 0: an earlier run did it. */
  switchMs: number
  /** Connections that were still there when the drain was over. */
  undrained: number
  /** Old addresses that have gone over to the new host with it. */
  addresses?: string[]
}

/** The service's new state, on both its hosts. */
export async function setState(world: World, service: Service, state: ServiceState): Promise<void> {
  await change(world, { states: new Map([[service.name, state]]) })
}

export function rolledBack(service: Service, origin: Name, cause: unknown): FleetmoveError {
  const known = cause instanceof FleetmoveError ? cause : undefined
  return new FleetmoveError('rolled-back', {
    message: `${service.name} stays on ${origin}: ${(cause as Error).message}`,
    ...(known?.hint === undefined ? {} : { hint: known.hint }),
    ...(known?.host === undefined ? {} : { host: known.host }),
    cause,
  })
}
