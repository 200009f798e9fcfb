/** `fleetmove plan`: what `up` would do, host by host, and what stands in its way. Changes nothing anywhere. */
import { FleetmoveError } from '../proto/model/error.js'
import type { AgentState } from './agents/agent.js'
import { describeHost, standingOf } from './describe-host.js'
import { foreseeChanges } from './foresee-changes.js'
import { hostProblems } from './host-problems.js'
import { inParallel } from './in-parallel.js'
import { finalizedServices } from './journal.js'
import { deviceMtu, measurePaths, pathProblems } from './measure-paths.js'
import type { FleetPlan, PlannedHost, PlannedHostSteps, PlannedPath, PlannedPhase } from './plan/fleet-plan.js'
import { planService } from './plan/plan-service.js'
import { pairKey, type TunnelPair } from './plan/tunnel-pair.js'
import type { Site } from './site.js'
import { pairsFor } from './tunnels.js'
import { type Context, type World, withWorld } from './world.js'

/**
 * Facts come over plain SSH; agents that run are asked for their plans, and none is installed.
 * @throws FleetmoveError or AggregateError where hosts can't be reached, with what stands in the way on the others
 */
export function planUp(context: Context): Promise<FleetPlan> {
  return withWorld(context, (world) => planWorld(world), {
    asItIs: true,
    allFacts: true,
    judge: (reached) => hostProblems(context.fleet, reached),
  })
}

async function planWorld(world: World): Promise<FleetPlan> {
  const { fleet } = world
  const finalized = await finalizedServices(fleet)
  const services = [...fleet.services.values()].filter(({ name }) => !finalized.has(name))
  const hosts = await inParallel(allSites(world), (site) => host(world, site))
  const isOver = services.length === 0
  const unknown = hosts.filter(({ agent, vantage }) => agent === 'stopped' && !vantage).map(({ name }) => name)
  // The tunnel of a move that is over needs no path, and that of a stopped agent may stand.
  const paths = isOver || unknown.length > 0 ? [] : await measurePaths(world)
  const problems = isOver ? [] : [...hostProblems(fleet, allSites(world)), ...pathProblems(paths)]
  const base = {
    fleet: fleet.name,
    hosts,
    paths,
    unknown,
    services: services.map((service) =>
      planService(
        service,
        world.states.get(service.name) ?? { stage: 'planned', active: service.from },
        (name) => world.sites.get(name)!.facts,
      ),
    ),
  }
  const stop = (found: readonly FleetmoveError[], pending = true): FleetPlan => ({
    ...base,
    pending,
    tunnels: [],
    phases: [],
    problems: found.map(({ host: where, message, hint }) => ({
      ...(where === undefined ? {} : { host: where }),
      message,
      ...(hint === undefined ? {} : { hint }),
    })),
  })
  if (isOver) return stop([], false)
  if (problems.length > 0) return stop(problems)
  const agents = await agentsPhase(world)
  if (unknown.length > 0) return { ...stop([]), phases: agents }
  try {
    const { keys, tunnels, phases } = await foreseeChanges(world, services, await foreseenPairs(world, paths))
    const all = [...withKeys(agents, keys), ...phases]
    return { ...base, tunnels, phases: all, pending: all.length > 0, problems: [] }
  } catch (error) {
    const failures: unknown[] = error instanceof AggregateError ? error.errors : [error]
    const known = failures.filter((each): each is FleetmoveError => each instanceof FleetmoveError)
    if (known.length < failures.length || known.some(({ code }) => code !== 'preflight')) throw error
    return stop(known)
  }
}

/** In the order of fleet.yaml, whoever answered first. */
const allSites = ({ fleet, sites, vantages }: World): Site[] => [
  ...[...fleet.hosts.keys()].map((name) => sites.get(name)!),
  ...[...fleet.vantages.keys()].map((name) => vantages.get(name)!),
]

async function host(world: World, site: Site): Promise<PlannedHost> {
  const state = await world.agents.get(site.name)?.hello()
  return describeHost(site, {
    vantage: world.vantages.has(site.name),
    agent: standingOf(site.facts, await site.runsExpected()),
    generation: newest(state),
  })
}

const newest = (state: AgentState | undefined): number => state?.generation ?? 0

/** Keys are made by the agents, which don't run yet: these have the right form and are never seen. */
const standIn = {
  wireguard: `${'A'.repeat(43)}=`,
  openvpn: Array.from({ length: 32 }, () => '00').join(':'),
} as const

/** @throws FleetmoveError or AggregateError 'preflight' where no tunnel can be made */
const foreseenPairs = (world: World, paths: readonly PlannedPath[]): Promise<TunnelPair[]> =>
  pairsFor(world, {
    identity: async (_host, kind) => standIn[kind],
    pathMtu: async (a, b) => {
      const mtu = paths.find((path) => pairKey(path.a, path.b) === pairKey(a.name, b.name))?.mtu
      return mtu ? Math.min(mtu.aToB, mtu.bToA) : deviceMtu(world, a, b)
    },
  })

/** Keys are made by agents, as soon as they run. */
function withKeys([agents]: PlannedPhase[], keys: readonly PlannedHostSteps[]): PlannedPhase[] {
  const hosts = (agents?.hosts ?? []).map((each) => ({
    ...each,
    steps: [...each.steps, ...keys.filter(({ host }) => host === each.host).flatMap(({ steps }) => steps)],
  }))
  hosts.push(...keys.filter((key) => !hosts.some(({ host }) => host === key.host)))
  return hosts.length === 0 ? [] : [{ what: 'agents', hosts, last: [] }]
}

/** Vantages get an agent too: probes are sent from there. */
async function agentsPhase(world: World): Promise<PlannedPhase[]> {
  const hosts = await inParallel(
    allSites(world),
    async (site): Promise<PlannedHostSteps> => ({
      host: site.name,
      ruleset: null,
      ...(await site.foreseeInstall()),
    }),
  )
  const changed = hosts.filter(({ steps }) => steps.length > 0)
  return changed.length === 0 ? [] : [{ what: 'agents', hosts: changed, last: [] }]
}
