/** Keeping new clients of a service waiting on both its hosts, and letting them go again. */
import type { Service } from './config/fleet.js'
import { inParallel } from './in-parallel.js'
import { agentOf, type World } from './world.js'

export interface Hold {
  /** Until new clients stop waiting by themselves, in ms. */
  remainingMs(): number
  /** Lets everybody go who waits, and those who come from now on; twice does nothing. */
  release(): Promise<void>
}

/** Begins on both hosts, for at most the service's `hold`. */
export async function holdService(world: World, service: Service): Promise<Hold> {
  const begun = performance.now()
  const hosts = [service.from, service.to]
  const end = world.progress.begin(service.name, 'hold new clients')
  const running = await inParallel(hosts, (host) => agentOf(world, host).hold(service.name, service.holdMs))
  for (const { host, hold } of running.map((hold, i) => ({ host: hosts[i]!, hold }))) {
    if (hold.means === 'drop') {
      world.progress.note(
        service.name,
        `the kernel of ${host} has no packet queue: clients are not kept there, they try again after 1, 3, 7… seconds`,
      )
    }
  }
  let released: Promise<void> | undefined
  const release = async (): Promise<void> => {
    const counts = await inParallel(hosts, (host) => agentOf(world, host).release(service.name))
    for (const hold of running) hold.stop()
    const sum = (pick: (each: (typeof counts)[number]) => number): number =>
      counts.reduce((n, each) => n + pick(each), 0)
    const dropped = sum((each) => each.dropped)
    const clients = sum((each) => each.syns)
    const ms = Math.round(performance.now() - begun)
    world.record.add({ type: 'hold', service: service.name, ms, clients, dropped })
    end(
      `${clients} clients waited, at most ${(ms / 1000).toFixed(1)} s${dropped > 0 ? `; ${dropped} packets were too many to keep` : ''}`,
    )
  }
  return {
    remainingMs: () => service.holdMs - (performance.now() - begun),
    release: () => {
      released ??= release()
      return released
    },
  }
}
