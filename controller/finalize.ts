/** `fleetmove finalize`: once nobody arrives by the old address, leave the hosts as clean as they were found. */
import { familyOf } from '../proto/model/address.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import type { Service } from './config/fleet.js'
import { keepHistory } from './history.js'
import { inParallel } from './in-parallel.js'
import { type JournalEntry, journal, readJournal } from './journal.js'
import { statusOfClients } from './own-probes.js'
import { addressesOf, companions } from './plan/moving-addresses.js'
import { cleanUp, releaseServices } from './release.js'
import { selectServices } from './select-services.js'
import { agentOf, type Context, type World, withLockedWorld } from './world.js'

/** Long enough to list everybody whom an operator can still ask. */
const maxArrivals = 1000

export interface FinalizeOptions {
  services: readonly string[]
  force: boolean
  /** Nobody may have arrived by the old address for this long, in ms. */
  quietMs: number
}

export interface Straggler {
  service: Name
  client: string
  /** Connections opened by the old address since forwarding began. */
  count: number
  lastSeenMsAgo: number
}

export interface SettledAddress {
  /** With the length that it has on the new host. */
  address: string
  from: Name
  to: Name
  /** The new host's. */
  device: string
}

export interface FinalizeResult {
  finalized: Name[]
  /** Connections that were cut by --force. */
  cut: number
  /** Addresses that have moved: what must be written into the hosts' own network configuration, or a reboot undoes it. */
  addresses: SettledAddress[]
}

/** Thrown inside a FleetmoveError 'gate' as its cause, so that --json can list them. */
export class Stragglers extends Error {
  constructor(
    readonly stragglers: Straggler[],
    readonly established: number,
  ) {
    super('stragglers')
  }
}

/** @throws FleetmoveError 'gate' while clients still arrive by the old address. */
export async function finalize(context: Context, options: FinalizeOptions): Promise<FinalizeResult> {
  const named = selectServices(context.fleet, options.services)
  return withLockedWorld(
    context,
    `finalize ${options.services.join(' ')}`.trim(),
    async (world) => {
      const services = named.filter((service) => world.states.get(service.name)?.stage !== 'planned')
      refuseUnmoved(world, services)
      refuseHalfMoved(world, services)
      const { stragglers, established, renumbered } = await survey(world, services, options.quietMs)
      const fresh = justSwitched(await readJournal(world.fleet), services, options.quietMs)
      const gated: Gate = { stragglers, established, renumbered, fresh, quietMs: options.quietMs }
      if (stragglers.length > 0 || established > 0 || renumbered > 0 || fresh.length > 0) {
        if (!options.force) throw gate(gated)
        world.progress.note(
          'finalize',
          `--force: ${established} connections by the old address are cut${renumbered > 0 ? `, and of ${renumbered} by other addresses what still stands in 10 s` : ''}`,
        )
      }
      const addresses = settledAddresses(world, services)
      await keepHistory(world)
      await releaseServices(world, services)
      for (const service of services)
        await journal(world.fleet, { type: 'stage', service: service.name, stage: 'finalized' })
      await cleanUp(world)
      return { finalized: services.map((service) => service.name), cut: established + renumbered, addresses }
    },
    { leaving: true },
  )
}

const settledAddresses = (world: World, services: readonly Service[]): SettledAddress[] =>
  addressesOf(world.fleet, services).map(({ address, from, to, own }) => ({
    address: `${address}/${familyOf(address) === 4 ? 32 : 128}`,
    ...{ from, to },
    device: world.sites.get(to)!.basics.addresses.find((each) => each.address === own)?.device ?? '',
  }))

/** An address that others still need can't be left to the hosts, and one that has stayed behind would be lost. */
function refuseHalfMoved(world: World, services: readonly Service[]): void {
  for (const service of services.filter(({ movesAddress }) => movesAddress)) {
    const names = addressesOf(world.fleet, [service]).map(({ address }) => address)
    if (world.states.get(service.name)?.address !== 'moved')
      throw new FleetmoveError('gate', {
        message: `${names.join(', ')} of ${service.name} has not gone over to ${service.to}`,
        hint: `take it over first: fleetmove advance ${service.name}; or leave address: move away`,
      })
    const missing = companions(world.fleet, service).filter((each) => !services.includes(each))
    if (missing.length > 0)
      throw new FleetmoveError('gate', {
        message: `${names.join(', ')} of ${service.name} is also the address of ${missing.map(({ name }) => name).join(', ')}`,
        hint: `finalize them together: fleetmove finalize ${[service, ...missing].map(({ name }) => name).join(' ')}`,
      })
  }
}

function refuseUnmoved(world: World, services: readonly Service[]): void {
  const unmoved = services.filter((service) => world.states.get(service.name)?.stage !== 'moved')
  if (unmoved.length === 0) return
  const list = unmoved.map((service) => `${service.name} (${world.states.get(service.name)?.stage})`).join(', ')
  throw new FleetmoveError('gate', {
    message: `not moved yet: ${list}`,
    hint: `move them first: fleetmove advance ${unmoved.map((service) => service.name).join(' ')}; or give up the move: fleetmove down`,
  })
}

/** Who came by the old address within the quiet time, and how many connections stand that way now. */
async function survey(
  world: World,
  services: readonly Service[],
  quietMs: number,
): Promise<Pick<Gate, 'stragglers' | 'established' | 'renumbered'>> {
  const entries = await readJournal(world.fleet)
  const found = await inParallel(new Set(services.map((service) => service.from)), async (host) => {
    const status = await statusOfClients(agentOf(world, host), maxArrivals, entries)
    return status.services.filter((each) => services.some((s) => s.name === each.name && s.from === host))
  })
  const own = found.flat()
  const stragglers = own.flatMap((each) =>
    each.arrivals
      .filter((arrival) => arrival.lastSeenMsAgo <= quietMs)
      .map((arrival) => ({
        service: each.name as Name,
        client: arrival.client,
        count: arrival.count,
        lastSeenMsAgo: arrival.lastSeenMsAgo,
      })),
  )
  const established = own.reduce((sum, each) => sum + each.establishedForwarded, 0)
  return { stragglers, established, renumbered: await countRenumbered(world, services) }
}

/** Short connections end by themselves while the agents leave; what is seen twice so long apart doesn't. */
const lastingMs = 3000

/**
 * Connections straight to a host that live by our table all the same: their client used the same port by both
 * addresses, and was given another one.
 */
async function countRenumbered(world: World, services: readonly Service[]): Promise<number> {
  const hosts = new Set(services.flatMap(({ from, to }) => [from, to]))
  const look = async (): Promise<Set<string>> => {
    const ids = await inParallel(hosts, async (host) => {
      const { tracked } = await agentOf(world, host).status(0)
      return (tracked?.renumbered ?? []).map((id) => `${host} ${id}`)
    })
    return new Set(ids.flat())
  }
  const first = await look()
  if (first.size === 0) return 0
  await new Promise((resolve) => setTimeout(resolve, lastingMs))
  const second = await look()
  return [...first].filter((id) => second.has(id)).length
}

/** What stands in the way of the end. */
interface Gate {
  stragglers: Straggler[]
  /** Connections by the old address that are open now. */
  established: number
  /** Connections by other addresses that would break. */
  renumbered: number
  /** Services that have only just moved. */
  fresh: readonly Name[]
  quietMs: number
}

/**
 * Before the switch clients reached the old host straight, and left no trace as arrivals: so long as the
 * quiet time hasn't passed since, there is nothing to conclude from their absence.
 */
function justSwitched(entries: readonly JournalEntry[], services: readonly Service[], quietMs: number): Name[] {
  const since = Date.now() - quietMs
  const isFresh = ({ name }: Service): boolean =>
    entries.some((entry) => entry.type === 'switch' && entry.service === name && Date.parse(entry.at) > since)
  return services.filter(isFresh).map((service) => service.name)
}

/** As operators write it: 1 h, not 3600 s. */
function span(ms: number): string {
  for (const [unit, name] of [
    [3_600_000, 'h'],
    [60_000, 'min'],
  ] as const)
    if (ms >= unit && ms % unit === 0) return `${ms / unit} ${name}`
  return `${Math.round(ms / 1000)} s`
}

function gate({ stragglers, established, renumbered, fresh, quietMs }: Gate): FleetmoveError {
  const clients = new Set(stragglers.map((straggler) => straggler.client))
  const named = [...clients].slice(0, 5).join(', ')
  const more = clients.size > 5 ? ` and ${clients.size - 5} more` : ''
  const parts = [
    ...(clients.size > 0
      ? [
          `${clients.size} ${clients.size === 1 ? 'client' : 'clients'} came by the old address within the last ${span(quietMs)} (${named}${more})`,
        ]
      : []),
    ...(established > 0 ? [`${established} connections by it are still open`] : []),
    ...(renumbered > 0
      ? [
          `${renumbered} connections by other addresses would break, since their clients used the same port by both and were given another`,
        ]
      : []),
    ...(fresh.length > 0
      ? [`${fresh.join(', ')} moved less than ${span(quietMs)} ago, too recently to know who still comes`]
      : []),
  ]
  return new FleetmoveError('gate', {
    message: parts.join('; '),
    hint: 'wait, and look again with `fleetmove status`; --quiet sets another time; --force cuts them off',
    cause: new Stragglers(stragglers, established + renumbered),
  })
}
