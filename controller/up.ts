/** `fleetmove up`: agents, tunnels, forwarding new → old, verified. */
import { familyOf } from '../proto/model/address.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import { change } from './change.js'
import type { Fleet } from './config/fleet.js'
import { copiesData } from './data.js'
import { inParallel } from './in-parallel.js'
import { finalizedServices, journal, journalPath } from './journal.js'
import { conflicts } from './plan/conflicts.js'
import type { ServiceState } from './plan/host-specs.js'
import { preflight } from './plan/preflight.js'
import { neededPairs } from './plan/tunnel-pair.js'
import { timed } from './progress.js'
import { selectServices } from './select-services.js'
import type { Site } from './site.js'
import { awaitTunnels, pairsFor } from './tunnels.js'
import { assertVerified, type Verification, verifyServices } from './verify.js'
import { type Context, lockHosts, refresh, type World, withLockedWorld } from './world.js'

export interface UpResult {
  /** Hosts whose state was changed. */
  changed: number
  verification: Verification
}

/**
 * @throws FleetmoveError or AggregateError 'preflight' before anything is changed anywhere; 'verify' when
 *   a probe fails, with the services' forwarding taken back.
 */
export function up(context: Context): Promise<UpResult> {
  return withLockedWorld(
    context,
    'up',
    async (world) => {
      checkHosts(world)
      await refuseFinished(world)
      await installAgents(world)
      await lockHosts(world)
      await refresh(world)
      const pairs = await pairsFor(world)
      // Receiver before sender: tunnels and their marks stand on both hosts before anything is sent into them.
      let changed = await change(world, { pairs, mend: true, check: () => awaitTunnels(world, pairs) })
      const states = new Map<Name, ServiceState>()
      const finalized = await finalizedServices(world.fleet)
      const services = selectServices(world.fleet, []).filter((service) => !finalized.has(service.name))
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
    { replacing: true, judge: (reached) => hostProblems(context.fleet, reached) },
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
    hint: `to begin another move, give it another name (fleet: …), or forget this one: rm ${journalPath(world.fleet)}`,
  })
}

/** Everything that is in the way on any host, at once, before anything is changed anywhere. */
function checkHosts(world: World): void {
  const problems = hostProblems(world.fleet, [...world.sites.values(), ...world.vantages.values()])
  if (problems.length === 1) throw problems[0]
  if (problems.length > 1) throw new AggregateError(problems, 'preflight')
}

/** What stands in the way of an agent or a tunnel on these hosts, which may be only some of the fleet's. */
function hostProblems(fleet: Fleet, sites: readonly Site[]): FleetmoveError[] {
  const hosts = sites.map(({ name, facts }) => ({ host: name, facts, copiesData: copiesData(fleet, name) }))
  const links = neededPairs(fleet).map(({ a, b }) => ({ left: a, right: b, driver: fleet.tunnel.driver }))
  const clashes = sites.flatMap(({ name, facts }) => {
    const host = fleet.hosts.get(name)
    const tunnels = links.filter(({ left, right }) => left === name || right === name).length
    if (!host || tunnels === 0) return []
    const families = [...new Set(host.addresses.map((address) => familyOf(address.public)))]
    return conflicts({ host: name, facts, port: fleet.tunnel.port, tunnels, families })
  })
  return [...preflight(hosts, links), ...clashes].map(
    ({ host, message, hint }) => new FleetmoveError('preflight', { host, message, hint }),
  )
}

async function installAgents(world: World): Promise<void> {
  await inParallel(
    [...world.sites.values(), ...world.vantages.values()],
    (site) =>
      timed(
        world.progress,
        site.name,
        'agent',
        async () => {
          const installed = await site.install()
          world.agents.set(site.name, installed.agent)
          return installed
        },
        ({ bytes, started }) =>
          [
            bytes > 0 ? `${(bytes / 1e6).toFixed(1)} MB sent` : 'nothing sent',
            started ? 'started' : 'runs already',
          ].join(', '),
      ),
    // Each upload holds a compressed runtime in flight; more at once only share the line.
    8,
  )
}
