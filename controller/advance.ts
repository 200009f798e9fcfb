/** `fleetmove advance` and `fleetmove rollback`: services one after another, in the order of waves. */
import { FleetmoveError } from '../proto/model/error.js'
import type { Service } from './config/fleet.js'
import { selectServices } from './select-services.js'
import { type Switched, switchService } from './switch.js'
import { type Context, type World, withWorld } from './world.js'

/** @throws FleetmoveError 'rolled-back' at the first service that doesn't stay on its new host; those before it stay moved. */
export function advance(context: Context, names: readonly string[], wave?: number): Promise<Switched[]> {
  return withWorld(context, async (world) => {
    const services = selectServices(world.fleet, names)
      .filter((service) => wave === undefined || service.wave === wave)
      .sort((x, y) => x.wave - y.wave)
    refusePlanned(world, services)
    const moved: Switched[] = []
    for (const service of inOrder(services)) {
      if (service.strategy === 'recreate') throw notYet(service)
      if (world.states.get(service.name)?.stage !== 'moved') moved.push(await switchService(world, service, service.to))
    }
    return moved
  })
}

export function rollback(context: Context, names: readonly string[]): Promise<Switched[]> {
  return withWorld(context, async (world) => {
    const services = selectServices(world.fleet, names)
    refusePlanned(world, services)
    const back: Switched[] = []
    for (const service of inOrder(services).reverse()) {
      if (world.states.get(service.name)?.stage !== 'forwarding')
        back.push(await switchService(world, service, service.from))
    }
    return back
  })
}

/** Each after those that it names under `after`; the configuration has refused cycles. */
function inOrder(services: readonly Service[]): Service[] {
  const ordered: Service[] = []
  const place = (service: Service): void => {
    if (ordered.includes(service)) return
    for (const name of service.after) {
      const before = services.find((other) => other.name === name)
      if (before) place(before)
    }
    ordered.push(service)
  }
  for (const service of services) place(service)
  return ordered
}

function refusePlanned(world: World, services: readonly Service[]): void {
  const planned = services.filter((service) => world.states.get(service.name)?.stage === 'planned')
  if (planned.length === 0) return
  throw new FleetmoveError('gate', {
    message: `nothing is set up yet for ${planned.map((service) => service.name).join(', ')}`,
    hint: 'run `fleetmove up` first',
  })
}

const notYet = (service: Service): FleetmoveError =>
  new FleetmoveError('usage', {
    message: `${service.name} has strategy: recreate, which this version can't move yet`,
    hint: 'use strategy: rolling if both sides may run at once',
  })
