/** Between a switch and the stop of the server that is left. */
import type { Service } from './config/fleet.js'
import { inParallel } from './in-parallel.js'
import { agentOf, type World } from './world.js'

/**
 * Opening packets that nobody has answered yet go where the rules say now when their clients send them again:
 * they would follow their entries to the server that was left, and be refused when it has stopped. A tunnel
 * that was down for a while has many of them.
 */
export async function settle(world: World, service: Service): Promise<void> {
  await inParallel([service.from, service.to], (host) => agentOf(world, host).settle(service.name))
}
