/** One change of the fleet's state: on trial on every host, checked, and confirmed over new connections. */
import { isDeepStrictEqual } from 'node:util'
import { FleetmoveError } from '../proto/model/error.js'
import type { HostSpec } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import type { Service } from './config/fleet.js'
import { inParallel } from './in-parallel.js'
import { hostSpecs, type ServiceState } from './plan/host-specs.js'
import type { TunnelPair } from './plan/tunnel-pair.js'
import { refuseUntied } from './untied.js'
import { agentOf, type World } from './world.js'

export interface Change {
  /** Services whose state changes. */
  states?: ReadonlyMap<Name, ServiceState>
  pairs?: readonly TunnelPair[]
  /** Hosts that are changed before the others. */
  first?: readonly Name[]
  /**
   * Runs while the change is on trial, with the world as it will be; when it throws, the change is
   * taken back.
   */
  check?: (wanted: Wanted) => Promise<void>
  /** Services may be left without a tunnel between their hosts: nobody is forwarded then. */
  untied?: boolean
  /** Hosts that hold the new state already are made sure of, too: their kernels may have drifted. */
  mend?: boolean
}

export interface Wanted {
  states: Map<Name, ServiceState>
  pairs: TunnelPair[]
}

/**
 * Brings every host that it concerns to the new state, or leaves every one as it was. One of services alone concerns
 * their hosts; changes that have a host in common wait for each other.
 * @returns how many hosts differed from the new state.
 */
export function change(world: World, wanted: Change): Promise<number> {
  const hosts = concerned(world, wanted)
  return world.turns.take(hosts, () => changeNow(world, wanted, hosts))
}

/** @returns undefined for all */
function concerned({ fleet }: World, { states, pairs, untied, mend }: Change): Set<Name> | undefined {
  if (!states || pairs || untied || mend) return undefined
  const services = [...states.keys()].map((name) => fleet.services.get(name)!)
  return new Set(services.flatMap(({ from, to }) => [from, to]))
}

async function changeNow(
  world: World,
  { states, pairs, check, mend, untied = false, first = [] }: Change,
  hosts: ReadonlySet<Name> | undefined,
): Promise<number> {
  const wanted: Wanted = {
    states: new Map([...world.states, ...(states ?? [])]),
    pairs: [...(pairs ?? world.pairs)],
  }
  const isConcerned = ({ from, to }: Service): boolean => hosts === undefined || hosts.has(from) || hosts.has(to)
  if (!untied) refuseUntied(world, [...world.fleet.services.values()].filter(isConcerned), wanted)
  // Taken at once: a change of other hosts may come meanwhile.
  world.generation += 1
  const { generation } = world
  const input = { fleet: world.fleet, locals: world.locals, held: world.specs, ...wanted, generation }
  const specs = hostSpecs(input, hosts)
  const changed = [...specs.values()].filter((spec) => !sameState(spec, world.specs.get(spec.host)))
  if (mend) {
    const kept = [...specs.keys()].filter((host) => !changed.some((spec) => spec.host === host))
    await inParallel(kept, (host) => makeSure(world, host))
  }
  if (changed.length === 0) {
    await check?.(wanted)
    return 0
  }
  const confirmed = new Set<Name>()
  try {
    const apply = async (spec: HostSpec): Promise<void> => {
      const { steps } = await agentOf(world, spec.host).apply(spec, world.confirmWithinMs)
      noteSteps(world, spec.host, 'changed', steps)
    }
    await inParallel(
      changed.filter(({ host }) => first.includes(host)),
      apply,
    )
    await inParallel(
      changed.filter(({ host }) => !first.includes(host)),
      apply,
    )
    await check?.(wanted)
    await inParallel(changed, async ({ host }) => {
      await world.sites.get(host)!.anew((agent) => agent.confirm(generation))
      confirmed.add(host)
    })
  } catch (error) {
    await takeBack(world, changed, generation, confirmed)
    throw error
  }
  for (const spec of changed) world.specs.set(spec.host, spec)
  world.states = new Map([...world.states, ...(states ?? [])])
  if (pairs) world.pairs = wanted.pairs
  return changed.length
}

function noteSteps(world: World, host: Name, what: 'changed' | 'undone', steps: readonly string[]): void {
  if (steps.length === 0) return
  for (const step of steps) world.progress.detail(host, step)
  world.record.add({ type: 'host', host, what, steps: [...steps] })
}

async function makeSure(world: World, host: Name): Promise<void> {
  const { steps } = await agentOf(world, host).apply(world.specs.get(host)!, world.confirmWithinMs)
  if (steps.length === 0) return
  world.record.add({ type: 'host', host, what: 'changed', steps })
  world.progress.note(host, `put back what had changed: ${steps.join('; ')}`)
}

/** A state is the same whatever its generation. */
export const sameState = (spec: HostSpec, held: HostSpec | undefined): boolean =>
  held !== undefined && isDeepStrictEqual({ ...spec, generation: 0 }, { ...held, generation: 0 })

/** Agents that can't be told any more undo it alone when their time is up; so the others must, too. */
async function takeBack(
  world: World,
  changed: readonly HostSpec[],
  generation: number,
  confirmed: ReadonlySet<Name>,
): Promise<void> {
  world.generation += 1
  const back = world.generation
  const results = await Promise.allSettled(
    changed.map(async ({ host }) => {
      const agent = agentOf(world, host)
      if (!confirmed.has(host)) return noteSteps(world, host, 'undone', await agent.revert(generation))
      const before = world.specs.get(host) ?? { ...changed[0]!, host, tunnels: [], services: [] }
      const spec = { ...before, generation: back }
      const { steps } = await agent.apply(spec, world.confirmWithinMs)
      noteSteps(world, host, 'undone', steps)
      await agent.confirm(spec.generation)
      world.specs.set(host, spec)
    }),
  )
  results.forEach((result, i) => {
    if (result.status === 'fulfilled') return
    const reason = result.reason instanceof FleetmoveError ? result.reason.message : String(result.reason)
    world.progress.note(
      changed[i]!.host,
      `can't be told to take the change back (${reason}); what isn't confirmed it undoes alone within ${world.confirmWithinMs / 1000} s`,
    )
  })
}
