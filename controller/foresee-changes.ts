/** The two changes that `up` makes, planned on every host: by its agent, or by the agent's program here. */
import type { HostSpec } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import { sameState } from './change.js'
import type { Service } from './config/fleet.js'
import { inParallel } from './in-parallel.js'
import { planOffline } from './offline-planner.js'
import { chooseTunnel } from './plan/choose-tunnel.js'
import type { FleetPlan, PlannedHostSteps, PlannedPhase, PlannedTunnel } from './plan/fleet-plan.js'
import { hostSpecs, type ServiceState } from './plan/host-specs.js'
import { tunnelFacts } from './plan/tunnel-facts.js'
import { pairKey, type TunnelPair } from './plan/tunnel-pair.js'
import { withoutIdentities } from './plan/without-identities.js'
import type { World } from './world.js'

/** @param pairs as they will be, with stand-ins for what isn't known yet */
export async function foreseeChanges(
  world: World,
  services: readonly Service[],
  pairs: readonly TunnelPair[],
): Promise<Pick<FleetPlan, 'tunnels' | 'phases'> & { keys: PlannedHostSteps[] }> {
  const planned = services.filter(({ name }) => world.states.get(name)?.stage === 'planned')
  const states = new Map<Name, ServiceState>([
    ...world.states,
    ...planned.map(({ name, from }) => [name, { stage: 'forwarding', active: from }] as const),
  ])
  const specs = (input: { states: ReadonlyMap<Name, ServiceState>; generation: number }): Map<Name, HostSpec> =>
    hostSpecs({ fleet: world.fleet, locals: world.locals, held: world.specs, pairs, ...input })
  const first = specs({ states: world.states, generation: world.generation + 1 })
  const second = specs({ states, generation: world.generation + 2 })
  const [tunnels, forwarding] = await phases(world, first, second)
  return {
    keys: newKeys(world, pairs),
    tunnels: pairs.map((pair) => describePair(world, pair)),
    phases: [
      phase('tunnels', tunnels, [
        ...pairs
          .filter((pair) => isNew(world, pair))
          .map(({ a, b }) => `wait until ${a} and ${b} hear each other through their tunnel`),
        'confirm it over new SSH connections; a host that is not told in time takes it back alone',
      ]),
      phase('forwarding', forwarding, [
        `prove it with probes by every address, from ${['this machine', ...world.fleet.vantages.keys()].join(', ')}; if one fails, take it back`,
        'confirm it over new SSH connections; a host that is not told in time takes it back alone',
      ]),
    ].filter(({ hosts }) => hosts.length > 0),
  }
}

const phase = (what: PlannedPhase['what'], hosts: PlannedHostSteps[], last: string[]): PlannedPhase => ({
  what,
  hosts: hosts.filter(({ steps }) => steps.length > 0),
  last,
})

async function phases(
  world: World,
  first: ReadonlyMap<Name, HostSpec>,
  second: ReadonlyMap<Name, HostSpec>,
): Promise<[PlannedHostSteps[], PlannedHostSteps[]]> {
  const hosts = [...first.keys()]
  const bare = hosts.filter((host) => !world.agents.has(host))
  const offline = await planOffline(
    bare.map((host) => ({ facts: world.sites.get(host)!.facts, specs: [first.get(host)!, second.get(host)!] })),
  )
  const made = await inParallel(hosts, async (host): Promise<[PlannedHostSteps, PlannedHostSteps]> => {
    const [one, two] = [first.get(host)!, second.get(host)!]
    const agent = world.agents.get(host)
    const [plan1, plan2] = agent
      ? [await agent.plan(one), await agent.plan(two, one)]
      : offline[bare.indexOf(host)]!.map((plan) => ({
          ...plan,
          presentRuleset: '',
          files: plan.files.map((file) => ({ ...file, present: '' })),
        }))
    const changes = { first: !sameState(one, world.specs.get(host)), second: !sameState(two, one) }
    return [
      hostSteps(one, plan1!, plan1!.presentRuleset, changes.first),
      hostSteps(two, plan2!, plan1!.ruleset, changes.second),
    ]
  })
  return [made.map(([one]) => one), made.map(([, two]) => two)]
}

interface AgentPlan {
  steps: string[]
  ruleset: string
  files: PlannedHostSteps['files']
}

/** @param changed what the host is to hold is another than it holds, even where its kernel needs no step for it */
function hostSteps(spec: HostSpec, plan: AgentPlan, present: string, changed: boolean): PlannedHostSteps {
  const plain = withoutIdentities(spec)
  const steps = plan.steps.map(plain)
  return {
    host: spec.host,
    steps: changed && steps.length === 0 ? ['note the new state in its ledger; nothing changes in its kernel'] : steps,
    // Only a step loads it: text that merely reads otherwise is no change.
    ruleset: plan.steps.some((step) => step.includes('table inet fleetmove'))
      ? { present, planned: plan.ruleset }
      : null,
    files: plan.files.map((file) => ({ ...file, content: plain(file.content), present: plain(file.present) })),
  }
}

const isNew = (world: World, { a, b }: TunnelPair): boolean =>
  !world.pairs.some((standing) => pairKey(standing.a, standing.b) === pairKey(a, b))

/** A host has one key of a kind, however many tunnels; its agent makes it when it is first asked for it. */
function newKeys(world: World, pairs: readonly TunnelPair[]): PlannedHostSteps[] {
  const kinds = new Map<Name, Set<string>>()
  for (const pair of pairs.filter((each) => isNew(world, each))) {
    for (const host of [pair.a, pair.b]) {
      const { driver } = pair.ends[host]!
      if (driver === 'direct') continue
      kinds.set(host, (kinds.get(host) ?? new Set()).add(driver === 'openvpn' ? 'OpenVPN' : 'WireGuard'))
    }
  }
  return [...kinds].map(([host, set]) => ({
    host,
    steps: [...set].map((kind) => `make its ${kind} key in /var/lib/fleetmove/keys, unless it is there`),
    ruleset: null,
    files: [],
  }))
}

function describePair(world: World, pair: TunnelPair): PlannedTunnel {
  const { a, b } = pair
  const { index, driver, port, mtu } = pair.ends[a]!
  return { a, b, index, driver, port, mtu, why: isNew(world, pair) ? reason(world, a, b) : 'it stands already' }
}

function reason(world: World, a: Name, b: Name): string {
  const end = (host: Name) => ({ host, facts: tunnelFacts(world.sites.get(host)!.facts) })
  const choice = chooseTunnel(world.fleet.tunnel.driver, end(a), end(b))
  return choice.ok ? choice.reason : ''
}
