/** One change of the fleet's state: on trial on every host, checked, and confirmed over new connections. */
import { isDeepStrictEqual } from 'node:util'
import { FleetmoveError } from '../proto/model/error.js'
import type { HostSpec } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import { inParallel } from './in-parallel.js'
import { hostSpecs, type ServiceState } from './plan/host-specs.js'
import type { TunnelPair } from './plan/tunnel-pair.js'
import { agentOf, type World } from './world.js'

/** How long an agent waits for our confirmation: long enough for a check over a slow line. */
const confirmWithinMs = 60_000

export interface Change {
  states: Map<Name, ServiceState>
  pairs: TunnelPair[]
}

/**
 * Brings every host to the new state, or leaves every host as it was.
 * @param check runs while the change is on trial; when it throws, the change is taken back.
 * @returns how many hosts differed from the new state.
 */
export async function change(
  world: World,
  wanted: Change,
  check: () => Promise<void> = async () => {},
): Promise<number> {
  const generation = world.generation + 1
  const specs = hostSpecs({ fleet: world.fleet, locals: world.locals, ...wanted, generation })
  const changed = [...specs.values()].filter((spec) => !sameState(spec, world.specs.get(spec.host)))
  const kept = [...specs.keys()].filter((host) => !changed.some((spec) => spec.host === host))
  // A host that holds this state already is only made sure of: its kernel may have drifted.
  await inParallel(kept, async (host) => {
    const { steps } = await agentOf(world, host).apply(world.specs.get(host)!, confirmWithinMs)
    if (steps.length > 0) world.progress.note(host, `put back what had changed: ${steps.join('; ')}`)
  })
  if (changed.length === 0) {
    await check()
    return 0
  }
  try {
    await inParallel(changed, async (spec) => {
      const { steps } = await agentOf(world, spec.host).apply(spec, confirmWithinMs)
      for (const step of steps) world.progress.detail(spec.host, step)
    })
    await check()
    await inParallel(changed, ({ host }) => world.sites.get(host)!.anew((agent) => agent.confirm(generation)))
  } catch (error) {
    await takeBack(world, changed, generation)
    throw error
  }
  world.generation = generation
  for (const spec of changed) world.specs.set(spec.host, spec)
  world.states = wanted.states
  world.pairs = wanted.pairs
  return changed.length
}

/** A state is the same whatever its generation. */
const sameState = (spec: HostSpec, held: HostSpec | undefined): boolean =>
  held !== undefined && isDeepStrictEqual({ ...spec, generation: 0 }, { ...held, generation: 0 })

/** Agents that can't be told any more undo it alone when their time is up. */
async function takeBack(world: World, changed: readonly HostSpec[], generation: number): Promise<void> {
  world.generation = generation
  const results = await Promise.allSettled(changed.map(({ host }) => agentOf(world, host).revert(generation)))
  results.forEach((result, i) => {
    if (result.status === 'fulfilled') return
    const reason = result.reason instanceof FleetmoveError ? result.reason.message : String(result.reason)
    world.progress.note(
      changed[i]!.host,
      `can't be told to take the change back (${reason}); it will do so alone within ${confirmWithinMs / 1000} s`,
    )
  })
}
