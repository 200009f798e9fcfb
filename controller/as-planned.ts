/** `fleetmove up FILE` does what the plan says, or nothing: what is found is held against what was saved. */
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import { standingOf } from './describe-host.js'
import { inParallel } from './in-parallel.js'
import { measurePaths } from './measure-paths.js'
import { changedFacts, decidingFacts } from './plan/deciding-facts.js'
import type { PlannedPath, PlannedPhase } from './plan/fleet-plan.js'
import { factsFingerprint, type SavedPlan } from './saved-plan.js'
import type { Site } from './site.js'
import type { World } from './world.js'

/**
 * Facts and generations of every host, and the paths between them, before anything is changed.
 * @throws FleetmoveError or AggregateError 'conflict' that names what has changed
 */
export async function refuseOtherFacts(world: World, plan: SavedPlan): Promise<void> {
  const sites = [...world.sites.values(), ...world.vantages.values()]
  const changes = (await inParallel(sites, (site) => factChanges(world, site, plan))).flat()
  refuse(changes)
  // Only hosts as they were have the same paths to measure.
  refuse(pathChanges(plan, await measurePaths(world)))
}

const pathChanges = (plan: SavedPlan, paths: readonly PlannedPath[]): Difference[] =>
  paths.flatMap(({ a, b, port, mtu }) => {
    const saved = plan.paths.find((path) => path.a === a && path.b === b)?.mtu
    // What was not measured then is compared by the steps that follow from it.
    if (!saved || !mtu || (saved.aToB === mtu.aToB && saved.bToA === mtu.bToA)) return []
    const words = (sizes: typeof mtu): string => `${sizes.aToB} bytes from ${a} to ${b} and ${sizes.bToA} back`
    const message = `${changed} packets that pass on UDP port ${port} were ${words(saved)}, and are ${words(mtu)}`
    return [{ message }]
  })

async function factChanges(world: World, site: Site, plan: SavedPlan): Promise<Difference[]> {
  const saved = plan.hosts.find(({ name }) => name === site.name)
  if (!saved) return [{ host: site.name, message: 'the plan knows nothing of this host' }]
  const deciding = decidingFacts(site.facts, standingOf(site.facts, await site.runsExpected()))
  const facts = factsFingerprint(deciding) === saved.fingerprint ? [] : changedFacts(saved.deciding, deciding)
  // An agent of another version isn't asked: it is going to be replaced, and the steps will tell.
  const generation = (await world.agents.get(site.name)?.hello())?.generation ?? saved.generation
  const changes =
    generation === saved.generation
      ? []
      : [`it has taken generation ${generation} since, and was at ${saved.generation}`]
  return [...facts, ...changes].map((change) => ({
    host: site.name,
    message: `${changed} ${change}`,
  }))
}

/**
 * The steps that the agents would take now, before they take the first.
 * @throws FleetmoveError or AggregateError 'conflict' that names the steps
 */
export function refuseOtherSteps(plan: SavedPlan, now: readonly PlannedPhase[]): void {
  const stepsOf = (phases: SavedPlan['phases'], what: string, host: string): string[] =>
    phases.find((phase) => phase.what === what)?.hosts.find((each) => each.host === host)?.steps ?? []
  const differences: Difference[] = []
  for (const what of ['tunnels', 'forwarding']) {
    const hosts = [...plan.phases, ...now].filter((phase) => phase.what === what).flatMap((phase) => phase.hosts)
    for (const host of new Set(hosts.map((each) => each.host))) {
      const [planned, wanted] = [stepsOf(plan.phases, what, host), stepsOf([...now], what, host)]
      const missing = planned.filter((step) => !wanted.includes(step))
      const added = wanted.filter((step) => !planned.includes(step))
      if (missing.length + added.length === 0) continue
      const parts = [
        ...(added.length > 0 ? [`it would now ${added.slice(0, 3).join('; ')}`] : []),
        ...(missing.length > 0 ? [`the plan says ${missing.slice(0, 3).join('; ')}`] : []),
      ]
      differences.push({
        host: host as Name,
        message: `the steps are not those of the plan: ${parts.join(', where ')}`,
      })
    }
  }
  refuse(differences)
}

const changed = 'since the plan was made, this has changed:'

interface Difference {
  host?: Name
  message: string
}

function refuse(differences: readonly Difference[]): void {
  const errors = differences.map(
    (difference) =>
      new FleetmoveError('conflict', { ...difference, hint: 'look at a new plan: fleetmove plan -o FILE' }),
  )
  if (errors.length === 1) throw errors[0]
  if (errors.length > 1) throw new AggregateError(errors)
}
