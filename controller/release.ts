/** Taking things back: services first, then hosts that have none left. */
import type { Name } from '../proto/model/names.js'
import { change } from './change.js'
import type { Service } from './config/fleet.js'
import { inParallel } from './in-parallel.js'
import type { ServiceState } from './plan/host-specs.js'
import { neededPairs } from './plan/tunnel-pair.js'
import { timed } from './progress.js'
import type { World } from './world.js'

/** Nothing of these services is forwarded any more; the tunnels stay. */
export async function releaseServices(world: World, services: readonly Service[]): Promise<void> {
  const planned = (service: Service): ServiceState => ({
    stage: 'planned',
    active: world.states.get(service.name)!.active,
    // The hosts are told to leave it where it is.
    ...(world.states.get(service.name)!.address === 'moved' ? { address: 'moved' as const } : {}),
  })
  await change(world, { states: new Map(services.map((service) => [service.name, planned(service)])) })
}

/**
 * Every host on which no service is under way any more is left as it was found: first the agents take
 * everything back, then their files go.
 * @returns the hosts on which something of ours was.
 */
export async function cleanUp(world: World): Promise<Name[]> {
  const busy = new Set<Name>()
  for (const { a, b } of neededPairs(world.fleet)) {
    const between = [...world.fleet.services.values()].filter((s) =>
      [s.from, s.to].every((host) => host === a || host === b),
    )
    if (between.some((service) => world.states.get(service.name)?.stage !== 'planned')) {
      busy.add(a)
      busy.add(b)
    }
  }
  const idle = [...world.sites.values()].filter((site) => !busy.has(site.name))
  if (busy.size === 0) idle.push(...world.vantages.values())
  const touched = idle.filter((site) => site.touched)
  await inParallel(touched, (site) =>
    timed(
      world.progress,
      site.name,
      'clean up',
      async () => {
        const steps = (await world.agents.get(site.name)?.leave(world.generation + 1)) ?? []
        for (const step of steps) world.progress.detail(site.name, step)
        await site.remove()
        world.record.add({
          ...{ type: 'host', host: site.name, what: 'cleaned' },
          steps: [...steps, 'stop the agent and remove its files'],
        })
        return steps.length
      },
      (steps) => `${steps} changes taken back`,
    ),
  )
  for (const site of touched) {
    world.agents.delete(site.name)
    world.specs.delete(site.name)
  }
  return touched.map((site) => site.name)
}
