/** `fleetmove down`: abandon the move: services back on old, hosts as they were found. */
import type { Name } from '../proto/model/names.js'
import { bootAsFound } from './boot.js'
import { keepHistory } from './history.js'
import { journal } from './journal.js'
import { moveService } from './move.js'
import { cleanUp, releaseServices } from './release.js'
import { type Context, withLockedWorld } from './world.js'

export interface DownResult {
  /** Services that had to be brought back to their old host. */
  returned: Name[]
  cleaned: Name[]
}

export function down(context: Context): Promise<DownResult> {
  return withLockedWorld(
    context,
    'down',
    async (world) => {
      const returned: Name[] = []
      for (const service of world.fleet.services.values()) {
        const state = world.states.get(service.name)
        if (state && (state.active !== service.from || state.stage === 'moving')) {
          await moveService(world, service, service.from)
          returned.push(service.name)
        }
      }
      const under = [...world.fleet.services.values()].filter((s) => world.states.get(s.name)?.stage !== 'planned')
      await keepHistory(world)
      for (const service of under) await bootAsFound(world, service)
      if (under.length > 0) await releaseServices(world, under)
      for (const service of under)
        await journal(world.fleet, { type: 'stage', service: service.name, stage: 'planned' })
      return { returned, cleaned: await cleanUp(world) }
    },
    { leaving: true },
  )
}
