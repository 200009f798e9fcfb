/** `fleetmove unlock`: takes away the lock of a run that is dead, on every host. */

import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import { inParallel } from './in-parallel.js'
import { isLockId } from './lock.js'
import { type Context, withWorld } from './world.js'

/**
 * @returns the hosts on which it was held
 * @throws FleetmoveError 'usage' where none holds it, with the locks that are held
 */
export async function unlock(context: Context, id: string): Promise<Name[]> {
  if (!isLockId(id)) {
    throw new FleetmoveError('usage', {
      message: `${JSON.stringify(id)} can't be a lock's id, which has 12 of 0-9 and a-f`,
      hint: 'take it from the refusal, or from fleetmove status',
    })
  }
  return withWorld(context, async (world) => {
    const replies = await inParallel(world.agents.values(), async (agent) => ({
      host: agent.host,
      ...(await agent.unlock(id)),
    }))
    const hosts = replies.flatMap(({ host, released }) => (released ? [host] : []))
    if (hosts.length > 0) return hosts.sort()
    const held = [...new Set(replies.flatMap((reply) => reply.held || []))]
    throw new FleetmoveError('usage', {
      message: `no host holds a lock ${id}${held.length > 0 ? `, but ${held.join(', ')}` : ''}`,
      hint: held.length > 0 ? `fleetmove unlock ${held[0]}` : 'nothing is locked: run your command',
    })
  })
}
