import type { Service } from './config/fleet.js'
import { inParallel } from './in-parallel.js'
import { timed } from './progress.js'
import { agentOf, type World } from './world.js'

/**
 * UDP knows no end of a connection: what goes another way than the rules say is dispatched anew with its
 * next datagram.
 * @param settle waits until the server that is left has answered what it was asked, for it will be stopped
 */
export async function purgeUdp(world: World, service: Service, { settle = false } = {}): Promise<void> {
  if (!service.listen.some((listener) => listener.protocol === 'udp')) return
  // Both at once: answers of one host's server pass the other.
  await inParallel([service.from, service.to], (host) => {
    const purge = (): Promise<number> => agentOf(world, host).purgeUdp(service.name, settle)
    return timed(world.progress, service.name, `UDP flows on ${host}`, purge, (flows) => `${flows} dispatched anew`)
  })
}
