/** All hosts of a fleet, connected, with what each of them holds: what every use case begins with. */
import { setTimeout as delay } from 'node:timers/promises'
import type { OpenGap } from '../proto/gen/fleetmove.js'
import type { Ip } from '../proto/model/address.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { HostSpec } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import type { Agent } from './agents/agent.js'
import { isAgentGone } from './agents/agent-gone.js'
import type { Fleet } from './config/fleet.js'
import { inParallel } from './in-parallel.js'
import { installAgent } from './install-agent.js'
import { FleetLock } from './lock.js'
import { type ResolvedAddress, resolveLocals } from './plan/addressing.js'
import { type Locals, type ServiceState, statesOf } from './plan/host-specs.js'
import { stateInGap } from './plan/in-gap.js'
import { standingPairs, type TunnelPair } from './plan/tunnel-pair.js'
import type { Progress } from './progress.js'
import { Recorder, recorded } from './record.js'
import { settleGaps } from './settle-gaps.js'
import { Site, type SiteOptions } from './site.js'
import { Turns } from './turns.js'

export interface Context {
  fleet: Fleet
  progress: Progress
  site: SiteOptions
  /** After so long hosts undo alone what this run hasn't confirmed, in ms. */
  confirmWithinMs: number
}

export interface World {
  fleet: Fleet
  progress: Progress
  confirmWithinMs: number
  sites: Map<Name, Site>
  /** Places from which probes are sent, beside this machine. */
  vantages: Map<Name, Site>
  /** Hosts and vantages without a running agent are absent. */
  agents: Map<Name, Agent>
  /** Confirmed specs, by host. */
  specs: Map<Name, HostSpec>
  states: Map<Name, ServiceState>
  pairs: TunnelPair[]
  locals: Locals
  /** The highest that any host has taken. */
  generation: number
  /** Null for what only looks. */
  lock: FleetLock | null
  /** See OpenOptions. */
  asItIs: boolean
  /** Of the changes that are under way. */
  turns: Turns
  record: Recorder
}

export interface OpenOptions {
  /** What is going to be changed, as it would be typed after `fleetmove`: hosts are locked for it. */
  lock?: string
  /** Agents of another version are going to be replaced, and are absent until then. */
  replacing?: boolean
  /** Not even an unconfirmed trial is ended, and an agent of another version is asked as it is. */
  asItIs?: boolean
  /** Hosts are going to be left as they were found: an agent that has died is started again where it has to take something back. */
  leaving?: boolean
  /** All facts of every host are needed, since it may be changed beyond what an agent that runs there does. */
  allFacts?: boolean
  /** What else is in the way on the hosts that were reached, where some were not: told together. */
  judge?: (reached: readonly Site[]) => FleetmoveError[]
}

/** An agent that a killed run has told to leave refuses everybody for up to half a second, and then it is gone. */
const leavingMs = 1500

/**
 * Connects to all hosts of the fleet and asks what they hold; changes nothing but an unconfirmed trial
 * of a controller that was killed, which is ended early (unless everything is to be seen as it is).
 * @throws FleetmoveError, or an AggregateError with one for each host in the way.
 */
export async function openWorld(context: Context, options: OpenOptions = {}): Promise<World> {
  try {
    return await openOnce(context, options)
  } catch (error) {
    if (!isAgentGone(error)) throw error
    await delay(leavingMs)
    return openOnce(context, options)
  }
}

async function openOnce(
  { fleet, progress, site, confirmWithinMs }: Context,
  { lock, replacing = false, leaving = false, asItIs = false, allFacts = false, judge = () => [] }: OpenOptions,
): Promise<World> {
  const sites = new Map<Name, Site>()
  const vantages = new Map<Name, Site>()
  try {
    const targets = [
      ...[...fleet.hosts.values()].map(({ name, ssh, become }) => ({ into: sites, name, ssh, become })),
      ...[...fleet.vantages.values()].map(({ name, ssh }) => ({ into: vantages, name, ssh, become: 'none' as const })),
    ]
    const told = async <T>(work: () => T | Promise<T>): Promise<T> => {
      try {
        return await work()
      } catch (error) {
        const more = judge([...sites.values(), ...vantages.values()])
        const failures = error instanceof AggregateError ? error.errors : [error]
        throw more.length === 0 ? error : new AggregateError([...failures, ...more])
      }
    }
    await told(() =>
      inParallel(
        targets,
        async ({ into, ...target }) => void into.set(target.name, await Site.connect(target, site, allFacts)),
      ),
    )
    const world: World = {
      fleet,
      progress,
      confirmWithinMs,
      sites,
      vantages,
      agents: new Map(),
      specs: new Map(),
      states: new Map(),
      pairs: [],
      locals: await told(() => findLocals(fleet, sites)),
      generation: 0,
      lock: lock === undefined ? null : new FleetLock(lock),
      asItIs,
      turns: new Turns(),
      record: new Recorder(fleet),
    }
    await inParallel([...sites.values(), ...vantages.values()], async (each) => {
      const agent = await each.agent(asItIs ? 'use' : replacing ? 'pass over' : 'refuse')
      if (agent) world.agents.set(each.name, agent)
      else if (leaving && each.basics.installed.ledger) await installAgent(world, each, () => each.revive())
    })
    try {
      await lockHosts(world)
      await refresh(world)
    } catch (error) {
      await world.lock?.release()
      throw error
    }
    return world
  } catch (error) {
    await closeSites([...sites.values(), ...vantages.values()])
    throw error
  }
}

export async function withWorld<T>(
  context: Context,
  use: (world: World) => Promise<T>,
  options: OpenOptions = {},
): Promise<T> {
  const world = await openWorld(context, options)
  try {
    return await use(world)
  } catch (error) {
    throw (await world.lock?.lost()) ?? error
  } finally {
    await world.record.flush(world.progress)
    await world.lock?.release()
    await closeSites([...world.sites.values(), ...world.vantages.values()])
  }
}

/** On the hosts that have an agent; those that get one later are locked by another call. */
export async function lockHosts(world: World): Promise<void> {
  await world.lock?.take(world.sites.values(), world.agents)
}

/**
 * As `withWorld`, while nobody else may change the hosts.
 * @param command as it would be typed after `fleetmove`: what others are told
 * @throws FleetmoveError 'locked' with who is at work there
 */
export const withLockedWorld = <T>(
  context: Context,
  command: string,
  use: (world: World) => Promise<T>,
  options: OpenOptions = {},
): Promise<T> => recorded(context, command, () => withWorld(context, use, { ...options, lock: command }))

/** Asks every agent anew. Moves that a dead run has left in their gap are settled first, unless this run only looks. */
export async function refresh(world: World): Promise<void> {
  const gaps = await ask(world)
  if (world.lock !== null && (await settleGaps(world, gaps))) await ask(world)
}

async function ask(world: World): Promise<Map<Name, OpenGap[]>> {
  const gaps = new Map<Name, OpenGap[]>()
  world.specs.clear()
  world.generation = 0
  await inParallel(world.agents.values(), async (agent) => {
    let state = await agent.hello()
    if (state.trial && world.asItIs) {
      const seconds = Math.ceil(state.trialRemainingMs / 1000)
      world.progress.note(
        agent.host,
        `a change of another run is on trial there, for ${seconds} s more unless it is confirmed`,
      )
    } else if (state.trial) {
      await endTrial(world, agent, state.trial.generation)
      state = await agent.hello()
    }
    world.generation = Math.max(world.generation, state.generation)
    if (state.confirmed) world.specs.set(agent.host, foreign(world.fleet, state.confirmed))
    if (state.gaps.length > 0) gaps.set(agent.host, state.gaps)
  })
  // What `up --log-connections` has asked for stays until fleet.yaml or another `up` says otherwise.
  const connections = [...world.specs.values()].some((spec) => spec.log?.connections)
  if (connections && world.fleet.log?.connections === undefined)
    world.fleet = { ...world.fleet, log: { ...world.fleet.log, connections } }
  world.states = statesOf(world.fleet, world.specs)
  const parts = [...gaps].flatMap(([host, own]) => own.map((gap) => ({ ...gap, host })))
  for (const service of world.fleet.services.values()) {
    const own = parts.filter((part) => part.service === service.name)
    world.states.set(service.name, stateInGap(service, world.states.get(service.name)!, own))
  }
  world.pairs = standingPairs(world.specs)
  return gaps
}

/** A trial of a run that is at work is its own affair; who only looks sees what was before. */
async function endTrial(world: World, agent: Agent, generation: number): Promise<void> {
  try {
    const steps = await agent.revert(generation)
    world.record.add({ type: 'host', host: agent.host, what: 'undone', steps })
    world.progress.note(agent.host, 'ended a change that another run left unconfirmed')
  } catch (error) {
    if (world.lock !== null || !(error instanceof FleetmoveError) || error.code !== 'locked') throw error
  }
}

function foreign(fleet: Fleet, spec: HostSpec): HostSpec {
  if (spec.fleet === fleet.name) return spec
  throw new FleetmoveError('conflict', {
    message: `the host belongs to fleet "${spec.fleet}" and not to "${fleet.name}"`,
    hint: 'finish that move first: run `fleetmove finalize` or `fleetmove down` with its fleet.yaml',
    host: spec.host,
  })
}

export function agentOf(world: World, host: Name): Agent {
  const agent = world.agents.get(host)
  if (agent) return agent
  throw new FleetmoveError('unreachable', {
    message: 'no agent runs there',
    hint: 'run `fleetmove up`: it starts the agent and puts everything back',
    host,
  })
}

async function closeSites(sites: readonly Site[]): Promise<void> {
  await Promise.allSettled(sites.map((site) => site.close()))
}

function findLocals(fleet: Fleet, sites: ReadonlyMap<Name, Site>): Locals {
  const problems: FleetmoveError[] = []
  const locals = new Map<Name, ResolvedAddress[]>()
  for (const host of fleet.hosts.values()) {
    const facts = sites.get(host.name)!.basics
    const device = (family: 4 | 6): string | undefined =>
      facts.defaultRoutes.find((route) => route.family === family)?.device
    const interfaces = facts.addresses.map(({ device, address }) => ({ device, ip: address as Ip }))
    const resolved = resolveLocals(host.addresses, interfaces, { 4: device(4), 6: device(6) })
    if (resolved.ok) locals.set(host.name, resolved.addresses)
    else
      problems.push(
        ...resolved.problems.map(
          ({ message, hint }) => new FleetmoveError('preflight', { message, hint, host: host.name }),
        ),
      )
  }
  if (problems.length === 1) throw problems[0]
  if (problems.length > 1) throw new AggregateError(problems)
  return locals
}
