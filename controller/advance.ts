/** `fleetmove advance` and `fleetmove rollback`: services in the order of waves. */
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import type { CanaryPlan } from './canary.js'
import { change } from './change.js'
import type { Fleet, Service } from './config/fleet.js'
import { moveService } from './move.js'
import type { Moved } from './move-state.js'
import { isHalfDone } from './plan/host-specs.js'
import { inOrder, wavesOf } from './plan/move-order.js'
import { selectServices } from './select-services.js'
import { isThere } from './take-over.js'
import { type Context, type World, withLockedWorld } from './world.js'

export interface AdvanceOptions {
  /** All of the fleet's when empty. */
  services: readonly string[]
  wave: number | undefined
  /** How many services of a wave move at the same time. */
  parallel: number
  /** So many services may stay behind before the others are left where they are. */
  maxFailures: number
  /** Stop between waves, for somebody to look. */
  gate: boolean
  canary: CanaryPlan | undefined
  /** Data on the new hosts that isn't ours may be lost. */
  overwriteData: boolean
}

/**
 * @throws FleetmoveError 'rolled-back' for each service that doesn't stay on its new host (those before it
 *   stay moved), 'gate' between waves where that was asked for.
 */
export async function advance(context: Context, options: AdvanceOptions): Promise<Moved[]> {
  const services = selectWave(context.fleet, options)
  refuseUnable(services, options.canary)
  return withLockedWorld(context, commandOf(options), async (world) => {
    refusePlanned(world, services)
    await evenOut(world, services)
    const waves = wavesOf(services)
    const moved: Moved[] = []
    const failures: unknown[] = []
    for (const [i, { wave, services: ofWave }] of waves.entries()) {
      const left = ofWave.filter((service) => !isThere(world, service))
      await moveWave(world, left, options, moved, failures)
      if (failures.length > 0) throw together(failures)
      const next = waves[i + 1]
      if (options.gate && next && left.length > 0) throw waveGate(wave, next.wave)
    }
    return moved
  })
}

/** @throws FleetmoveError 'usage' for a wave in which nothing is */
function selectWave(fleet: Fleet, { services, wave }: AdvanceOptions): Service[] {
  const named = selectServices(fleet, services)
  if (wave === undefined) return named
  const ofWave = named.filter((service) => service.wave === wave)
  if (ofWave.length > 0) return ofWave
  const waves = [...new Set(named.map((service) => service.wave))].sort((a, b) => a - b)
  throw new FleetmoveError('usage', {
    message: `the fleet has no service in wave ${wave}`,
    hint: `its waves are: ${waves.join(', ')}`,
  })
}

function commandOf({ services, wave }: AdvanceOptions): string {
  if (wave !== undefined) return `advance --wave ${wave}`
  return `advance ${services.length > 0 ? services.join(' ') : '--all'}`
}

export async function rollback(context: Context, names: readonly string[]): Promise<Moved[]> {
  const services = selectServices(context.fleet, names)
  return withLockedWorld(context, `rollback ${names.join(' ')}`, async (world) => {
    refusePlanned(world, services)
    await evenOut(world, services)
    const back: Moved[] = []
    for (const service of inOrder(services).reverse()) {
      if (world.states.get(service.name)?.stage !== 'forwarding')
        back.push(await moveService(world, service, service.from))
    }
    return back
  })
}

/** Services side by side, each after those that it waits for; what fails is collected. */
async function moveWave(
  world: World,
  services: readonly Service[],
  options: AdvanceOptions,
  moved: Moved[],
  failures: unknown[],
): Promise<void> {
  const queue = [...services]
  const running = new Map<Name, Promise<void>>()
  const mayStart = (service: Service): boolean =>
    service.after.every((name) => {
      const state = world.states.get(name)
      return state?.stage === 'moved' || !services.some((other) => other.name === name)
    })
  while (queue.length > 0 || running.size > 0) {
    const next = failures.length > options.maxFailures ? -1 : queue.findIndex(mayStart)
    if (next >= 0 && running.size < options.parallel) {
      const [service] = queue.splice(next, 1) as [Service]
      const run = moveService(world, service, service.to, options).then(
        (result) => void moved.push(result),
        (error) => void failures.push(error),
      )
      running.set(
        service.name,
        run.finally(() => running.delete(service.name)),
      )
      continue
    }
    // Nothing runs and nothing may start: what is left waits for services that stayed behind.
    if (running.size === 0) return
    await Promise.race(running.values())
  }
}

const together = (failures: readonly unknown[]): unknown =>
  failures.length === 1 ? failures[0] : new AggregateError(failures)

const waveGate = (done: number, next: number): FleetmoveError =>
  new FleetmoveError('gate', {
    message: `wave ${done} has moved; wave ${next} waits for your word`,
    hint: 'look at `fleetmove status`, then run the same command again',
  })

/**
 * A run that was killed may have confirmed a switch on one host only, where it stays. It is proved by then, and the
 * other host follows before anything else: its clients would meet the server that is going to be stopped.
 */
async function evenOut(world: World, services: readonly Service[]): Promise<void> {
  const halfDone = services.filter((service) => isHalfDone(service, world.specs))
  if (halfDone.length === 0) return
  await change(world, { states: new Map(halfDone.map(({ name }) => [name, world.states.get(name)!])) })
  for (const { name } of halfDone) world.progress.note(name, 'a switch that was confirmed on one host holds on both')
}

function refusePlanned(world: World, services: readonly Service[]): void {
  const planned = services.filter((service) => world.states.get(service.name)?.stage === 'planned')
  if (planned.length === 0) return
  throw new FleetmoveError('gate', {
    message: `nothing is set up yet for ${planned.map((service) => service.name).join(', ')}`,
    hint: 'run `fleetmove up` first',
  })
}

function refuseUnable(services: readonly Service[], canary: CanaryPlan | undefined): void {
  const unable = canary && services.find(({ strategy, redirect }) => strategy === 'recreate' || redirect)
  if (!unable) return
  const why =
    unable.strategy === 'recreate'
      ? "strategy: recreate, so it can't run on both hosts for a canary"
      : 'redirect:, so its old host forwards nobody for a canary'
  throw new FleetmoveError('usage', {
    message: `${unable.name} has ${why}`,
    hint: 'leave --canary and --only away for it',
  })
}
