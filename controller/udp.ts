import type { Service } from './config/fleet.js'
import { timed } from './progress.js'
import { agentOf, type World } from './world.js'

/** UDP knows no end of a connection: what is left is dispatched anew with its next datagram. */
export async function purgeUdp(world: World, service: Service): Promise<void> {
  if (!service.listen.some((listener) => listener.protocol === 'udp')) return
  for (const host of [service.from, service.to]) {
    const purge = (): Promise<number> => agentOf(world, host).purgeUdp(service.name)
    await timed(world.progress, service.name, `UDP flows on ${host}`, purge, (flows) => `${flows} dispatched anew`)
  }
}
