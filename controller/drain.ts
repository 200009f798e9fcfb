/** Waiting for established connections to end where they are. */
import type { Ip } from '../proto/model/address.js'
import type { Name } from '../proto/model/names.js'
import type { Service } from './config/fleet.js'
import { drainText } from './plan/drain-text.js'
import { agentOf, type World } from './world.js'

const pollMs = 500
/** While new clients are kept waiting for it. */
const heldPollMs = 50

/**
 * Waits until nobody is connected to the service on `origin`, at most for its `drain` time, or for
 * `atMostMs`.
 * @param options `held`: new clients are kept waiting meanwhile, so its end is looked for more often; `addresses`:
 *   only connections by these
 * @returns how many connections were still there.
 */
export async function drain(
  world: World,
  service: Service,
  origin: Name,
  {
    atMostMs = service.drainMs,
    held = false,
    addresses = [],
  }: { atMostMs?: number; held?: boolean; addresses?: readonly Ip[] } = {},
): Promise<number> {
  const agent = agentOf(world, origin)
  const limitMs = Math.min(service.drainMs, atMostMs)
  const deadline = Date.now() + limitMs
  const end = world.progress.begin(service.name, `drain on ${origin}`)
  const begun = performance.now()
  const over = (left: number): number => {
    const ms = Math.round(performance.now() - begun)
    world.record.add({ type: 'drain', service: service.name, host: origin, ms, left })
    return left
  }
  for (;;) {
    const asked = performance.now()
    const found = await agent.drain(service.name, addresses)
    const { established, clients, oldest = null } = found
    if (established === 0) {
      end('nobody left', { established })
      return over(0)
    }
    if (Date.now() >= deadline) {
      end(`${established} left after ${(limitMs / 1000).toFixed(0)} s: ${drainText(found)}`, {
        ...{ established, clients, oldest },
      })
      return over(established)
    }
    const remainingMs = deadline - Date.now()
    end.update(`${established} connections, ${Math.ceil(remainingMs / 1000)} s left: ${drainText(found)}`, {
      ...{ established, remainingMs, clients, oldest },
    })
    // A host with very many connections takes its time to count them, and has other things to do.
    const pauseMs = held ? Math.max(heldPollMs, 2 * (performance.now() - asked)) : pollMs
    await new Promise((resolve) => setTimeout(resolve, Math.min(pauseMs, Math.max(0, deadline - Date.now()))))
  }
}
