/** Waiting for established connections to end where they are. */
import type { Ip } from '../proto/model/address.js'
import type { Name } from '../proto/model/names.js'
import type { Service } from './config/fleet.js'
import { drainText } from './plan/drain-text.js'
import { agentOf, type World } from './world.js'

const pollMs = 500

/**
 * Waits until nobody is connected to the service on `origin`, at most for its `drain` time, or for
 * `atMostMs`.
 * @param options `held`: new clients are kept waiting meanwhile; `addresses`: only connections by these
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
  // While new clients wait the agent itself looks again and again, and answers as soon as nobody is left.
  const withinMs = (leftMs: number): number => (held ? Math.ceil(Math.min(pollMs, Math.max(0, leftMs))) : 0)
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
    const found = await agent.drain(service.name, addresses, withinMs(deadline - Date.now()))
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
    if (!held) await new Promise((resolve) => setTimeout(resolve, Math.min(pollMs, Math.max(0, deadline - Date.now()))))
  }
}
