/** `fleetmove up`: agents, tunnels, forwarding new → old, verified. */
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import { refuseOtherFacts, refuseOtherSteps } from './as-planned.js'
import { change } from './change.js'
import { foreseeChanges } from './foresee-changes.js'
import { hostProblems, refuseHosts } from './host-problems.js'
import { inParallel } from './in-parallel.js'
import { installAgent } from './install-agent.js'
import { finalizedServices, journal, journalPath, recordPath } from './journal.js'
import type { ServiceState } from './plan/host-specs.js'
import type { SavedPlan } from './saved-plan.js'
import { selectServices } from './select-services.js'
import { awaitTunnels, dropHalfTunnels, pairsFor } from './tunnels.js'
import { assertVerified, type Verification, verifyServices } from './verify.js'
import { type Context, lockHosts, refresh, type World, withLockedWorld } from './world.js'

export interface UpResult {
  /** Hosts whose state was changed. */
  changed: number
  verification: Verification
}

/**
 * @param plan what is to be done exactly, or nothing at all
 * @throws FleetmoveError or AggregateError 'preflight' before anything is changed anywhere; 'verify' when
 *   a probe fails, with the services' forwarding taken back; 'conflict' when it wouldn't go as planned, with
 *   nothing changed but agents that were installed as planned.
 */
export function up(context: Context, plan?: SavedPlan): Promise<UpResult> {
  return withLockedWorld(
    context,
    'up',
    async (world) => {
      refuseHosts(hostProblems(world.fleet, [...world.sites.values(), ...world.vantages.values()]))
      await refuseFinished(world)
      if (plan) await refuseOtherFacts(world, plan)
      await installAgents(world)
      await lockHosts(world)
      await refresh(world)
      await dropHalfTunnels(world)
      const pairs = await pairsFor(world)
      const finalized = await finalizedServices(world.fleet)
      const services = selectServices(world.fleet, []).filter((service) => !finalized.has(service.name))
      if (plan) refuseOtherSteps(plan, (await foreseeChanges(world, services, pairs)).phases)
      // Receiver before sender: tunnels and their marks stand on both hosts before anything is sent into them.
      let changed = await change(world, { pairs, mend: true, check: () => awaitTunnels(world, pairs) })
      const states = new Map<Name, ServiceState>()
      for (const service of services) {
        if (world.states.get(service.name)?.stage === 'planned') states.set(service.name, forwarding(service.from))
      }
      let verification: Verification = { proofs: [] }
      changed += await change(world, {
        states,
        check: async (wanted) => {
          verification = await verifyServices(world, services, wanted)
          assertVerified(verification, 'forwarding was taken back')
        },
      })
      for (const service of services) {
        await journal(world.fleet, {
          type: 'stage',
          service: service.name,
          stage: world.states.get(service.name)!.stage,
        })
      }
      return { changed, verification }
    },
    { replacing: true, allFacts: true, judge: (reached) => hostProblems(context.fleet, reached) },
  )
}

const forwarding = (from: Name): ServiceState => ({ stage: 'forwarding', active: from })

/**
 * A finished move isn't begun again by mistake: `up` would send the new host's clients back to the old
 * one, where nothing answers any more.
 */
async function refuseFinished(world: World): Promise<void> {
  const finalized = await finalizedServices(world.fleet)
  if (finalized.size === 0 || finalized.size < world.fleet.services.size) return
  throw new FleetmoveError('gate', {
    message: `every service of fleet "${world.fleet.name}" has been moved and finalized`,
    hint: `to begin another move, give it another name (fleet: …), or forget this one: rm ${journalPath(world.fleet)} ${recordPath(world.fleet)}`,
  })
}

const installAgents = (world: World): Promise<unknown> =>
  inParallel(
    [...world.sites.values(), ...world.vantages.values()],
    (site) => installAgent(world, site, () => site.install()),
    // Each upload holds a compressed runtime in flight; more at once only share the line.
    8,
  )
