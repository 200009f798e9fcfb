import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import type { Fleet, Service } from './config/fleet.js'

/**
 * The services that were named; all of them when none is. In the fleet's order.
 * @throws FleetmoveError 'usage' for a name that the fleet doesn't have.
 */
export function selectServices(fleet: Fleet, names: readonly string[]): Service[] {
  for (const name of names) {
    if (!fleet.services.has(name as Name)) {
      throw new FleetmoveError('usage', {
        message: `the fleet has no service "${name}"`,
        hint: `its services are: ${[...fleet.services.keys()].join(', ')}`,
      })
    }
  }
  return [...fleet.services.values()].filter((service) => names.length === 0 || names.includes(service.name))
}
