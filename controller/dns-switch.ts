/** `fleetmove dns switch`: the records themselves, with their time to live lowered first. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Ip } from '../proto/model/address.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import type { Fleet, Service } from './config/fleet.js'
import { changeRecord } from './dns/change-record.js'
import { type RecordState, readRecords } from './dns/records.js'
import { type JournalEntry, journal, readJournal } from './journal.js'
import { recordType, replaced } from './plan/dns-verdict.js'
import { timed } from './progress.js'
import { selectServices } from './select-services.js'
import { type Context, type World, withWorld } from './world.js'

export interface DnsSwitchOptions {
  services: readonly string[]
  /** To the new addresses, or back to the old ones. */
  to: 'old' | 'new'
  /** What the time to live is to be; undefined: fleet.yaml's `dns.ttl`. */
  ttlSeconds: number | undefined
  /** Don't lower the time to live first, and don't wait until its old value has passed. */
  now: boolean
  /** Wait for it here, instead of ending with a gate. */
  wait: boolean
}

export interface ChangedRecord {
  name: string
  owner: string
  type: 'A' | 'AAAA'
  before: Ip[]
  after: Ip[]
  ttlSeconds: number
  /** Servers of the zone that still gave the old answer when we stopped looking. */
  behind: string[]
}

/** Secondaries hear of a change by NOTIFY (RFC 1996) within seconds; after this they have to ask by themselves. */
const settleMs = 20_000
const pollMs = 250

/**
 * Changes only addresses of the fleet's services, one record at a time, each only if it still is what it
 * was a moment ago; run again, it goes on where it was.
 * @throws FleetmoveError('gate') while longer times to live are still in caches
 */
export async function switchDns(context: Context, options: DnsSwitchOptions): Promise<ChangedRecord[]> {
  const services = selectServices(context.fleet, options.services).filter(({ names }) => names.length > 0)
  if (services.length === 0) throw nameless(context.fleet, options.services)
  return withWorld(context, async (world) => {
    if (options.to === 'new') refuseUnforwarded(world, services)
    const ttlSeconds = options.ttlSeconds ?? world.fleet.dns.ttlSeconds
    const changed: ChangedRecord[] = []
    const waiting: { state: RecordState; untilMs: number }[] = []
    for (const state of owners(await readRecords(world.fleet, services))) {
      const before = agreed(state)
      const after = replaced(before, state.changes, options.to)
      const moves = after.join() !== before.join()
      const until = options.now || !moves ? 0 : await lowered(world, state, before, ttlSeconds)
      if (until > Date.now()) {
        if (!options.wait) {
          waiting.push({ state, untilMs: until })
          continue
        }
        await timed(world.progress, state.name, 'longer times to live leave the caches', () =>
          delay(until - Date.now()),
        )
      }
      if (moves || state.ttlSeconds !== ttlSeconds)
        changed.push(await change(world, state, { before, after, ttlSeconds }))
    }
    if (waiting.length > 0) throw gate(waiting)
    return changed
  })
}

/** Each record once, with the addresses of all services that have it. */
function owners(states: readonly RecordState[]): RecordState[] {
  const known = new Map<string, RecordState>()
  for (const state of states) {
    const key = `${state.zone.owner} ${state.family}`
    const other = known.get(key)
    known.set(key, other ? { ...other, changes: [...other.changes, ...state.changes] } : state)
  }
  // A family that the name doesn't have isn't added to it.
  return [...known.values()].filter(({ side }) => side !== 'none')
}

/** What all servers that answer have. */
function agreed(state: RecordState): readonly Ip[] {
  const answers = state.servers.flatMap(({ answer }) => (answer.kind === 'addresses' ? [answer.addresses] : []))
  const [first] = answers
  const type = recordType(state.family)
  if (first === undefined) {
    const reasons = state.servers.map(({ ip, answer }) => `${ip}: ${answer.kind === 'failed' ? answer.reason : 'none'}`)
    throw new FleetmoveError('unreachable', {
      message: `no server of ${state.zone.zone} tells the ${type} record of ${state.zone.owner} (${reasons.join(', ')})`,
      hint: 'check that this machine reaches them on UDP and TCP port 53',
    })
  }
  if (answers.every((each) => each.join() === first.join())) return first
  throw new FleetmoveError('conflict', {
    message: `the servers of ${state.zone.zone} don't agree on the ${type} record of ${state.zone.owner}`,
    hint: 'wait until its secondaries have the same, and see `fleetmove dns`',
  })
}

/**
 * Lowers the time to live where it is longer than wanted.
 * @returns when the last answer with a longer one has left the caches, in ms since 1970; 0: it has
 */
async function lowered(world: World, state: RecordState, before: readonly Ip[], ttlSeconds: number): Promise<number> {
  if (state.ttlSeconds > ttlSeconds) {
    await change(world, state, { before, after: before, ttlSeconds })
    return Date.now() + state.ttlSeconds * 1000
  }
  const last = lastLowering(await readJournal(world.fleet), state)
  return last === undefined ? 0 : Date.parse(last.at) + last.ttlBefore * 1000
}

const lastLowering = (entries: readonly JournalEntry[], state: RecordState) =>
  entries.findLast(
    (entry): entry is Extract<JournalEntry, { type: 'dns-change' }> =>
      entry.type === 'dns-change' &&
      entry.what === 'ttl' &&
      entry.owner === state.zone.owner &&
      entry.record === recordType(state.family) &&
      entry.ttlBefore > entry.ttlSeconds,
  )

async function change(
  world: World,
  state: RecordState,
  wanted: { before: readonly Ip[]; after: readonly Ip[]; ttlSeconds: number },
): Promise<ChangedRecord> {
  const { fleet, progress } = world
  const type = recordType(state.family)
  const what = wanted.before.join() === wanted.after.join() ? ('ttl' as const) : ('addresses' as const)
  const told =
    what === 'ttl' ? `time to live ${wanted.ttlSeconds} s` : `${wanted.before.join(', ')} → ${wanted.after.join(', ')}`
  const event = { owner: state.zone.owner, record: type, ttlSeconds: wanted.ttlSeconds }
  // The last moment at which somebody can have been given the old answer.
  await journal(fleet, { type: 'dns', ...event, side: state.side, ttlSeconds: state.ttlSeconds })
  const behind = await timed(progress, state.name, `${type} ${told}`, async () => {
    await changeRecord(fleet, { state, ...wanted })
    await journal(fleet, { type: 'dns-change', ...event, what, ttlBefore: state.ttlSeconds })
    return settled(fleet, state, wanted)
  })
  if (behind.length > 0)
    progress.note(state.name, `not changed yet on ${behind.join(', ')}: it follows by zone transfer`)
  return {
    name: state.name,
    owner: state.zone.owner,
    type,
    before: [...wanted.before],
    after: [...wanted.after],
    ttlSeconds: wanted.ttlSeconds,
    behind,
  }
}

/** Waits for the zone's servers. @returns those that haven't followed in time */
async function settled(
  fleet: Fleet,
  state: RecordState,
  wanted: { after: readonly Ip[]; ttlSeconds: number },
): Promise<string[]> {
  const deadline = performance.now() + settleMs
  for (;;) {
    const service = fleet.services.get(state.service)!
    const [now] = (await readRecords(fleet, [{ ...service, names: [state.name] }])).filter(
      ({ family }) => family === state.family,
    )
    const behind = (now?.servers ?? []).filter(
      ({ answer }) =>
        answer.kind === 'addresses' &&
        (answer.addresses.join() !== wanted.after.join() || answer.ttlSeconds > wanted.ttlSeconds),
    )
    if (now && behind.length === 0) {
      await journal(fleet, {
        ...{ type: 'dns', owner: state.zone.owner, record: recordType(state.family) },
        ...{ side: now.side, ttlSeconds: now.ttlSeconds },
      })
      return []
    }
    if (performance.now() >= deadline) return behind.map(({ name, ip }) => `${name} (${ip})`)
    await delay(pollMs)
  }
}

function refuseUnforwarded(world: World, services: readonly Service[]): void {
  const dark = services.filter(({ name }) => world.states.get(name)?.stage === 'planned')
  if (dark.length === 0) return
  const names: Name[] = dark.map(({ name }) => name)
  throw new FleetmoveError('preflight', {
    message: `nobody answers for ${names.join(', ')} at the new address yet`,
    hint: 'run `fleetmove up` first: from then on both addresses work',
  })
}

function nameless(fleet: Fleet, asked: readonly string[]): FleetmoveError {
  return new FleetmoveError('usage', {
    message:
      asked.length === 0
        ? 'no service of the fleet has names'
        : `${asked.join(', ')} ${asked.length === 1 ? 'has' : 'have'} no names`,
    hint: `write names: [www.example.org] under the service in fleet.yaml of ${fleet.name}`,
  })
}

function gate(waiting: readonly { state: RecordState; untilMs: number }[]): FleetmoveError {
  const lines = waiting.map(
    ({ state, untilMs }) =>
      `${state.zone.owner} ${recordType(state.family)} until ${new Date(untilMs).toISOString().slice(0, 19)}Z`,
  )
  return new FleetmoveError('gate', {
    message: `the time to live is lowered; caches may hold the longer one: ${lines.join('; ')}`,
    hint: 'run `fleetmove dns switch` again then; or --wait for it here; --now changes the addresses at once',
  })
}
