/**
 * A unit that starts with its host goes on to do so where its service is, and there alone: or a reboot of the host
 * that was left would start it a second time, and one of the other host would not start it at all.
 */
import type { Name } from '../proto/model/names.js'
import type { Service } from './config/fleet.js'
import { askBoot } from './lifecycle.js'
import type { World } from './world.js'

/** Nothing for a unit that doesn't start with the host that is left: somebody else sees to that. */
export async function moveBoot(world: World, service: Service, target: Name): Promise<void> {
  const origin = target === service.to ? service.from : service.to
  await kindly(world, service, origin, async () => {
    if ((await askBoot(world, service, 'boot-state', origin)) !== 'enabled') return
    // Twice would be worse than not at all for recreate, but only for this moment, and a crash here is made good
    // by the next run, which finds the origin's still enabled.
    await askBoot(world, service, 'boot-on', target)
    await askBoot(world, service, 'boot-off', origin)
    world.progress.detail(service.name, `starts with ${target} now, and no more with ${origin}`)
  })
}

/** On both hosts, when the move is given up. */
export async function bootAsFound(world: World, service: Service): Promise<void> {
  for (const host of [service.from, service.to])
    await kindly(world, service, host, () => askBoot(world, service, 'boot-as-found', host))
}

/** The service runs where it should: that must not fail because of what a reboot would do. */
async function kindly(world: World, service: Service, host: Name, work: () => Promise<unknown>): Promise<void> {
  if (service.lifecycle?.kind !== 'unit') return
  try {
    await work()
  } catch (error) {
    world.progress.note(
      service.name,
      `whether it starts with ${host} could not be changed: ${(error as Error).message}; see \`systemctl is-enabled ${service.lifecycle.unit}\` on both hosts`,
    )
  }
}
