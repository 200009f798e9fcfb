/** A service's directories, copied from one of its hosts to the other through their tunnel. */

import type { DataProgress, DataResult } from '../proto/gen/fleetmove.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import type { Agent, ServedData } from './agents/agent.js'
import type { Fleet, Service } from './config/fleet.js'
import { enough } from './plan/copy-passes.js'
import { pairKey } from './plan/tunnel-pair.js'
import { type Running, timed } from './progress.js'
import { agentOf, type World } from './world.js'

export interface CopyOptions {
  /** live: the service runs on `from`; final: it is stopped on both hosts. */
  mode: 'live' | 'final'
  /** The operator said that what is on `to` may be lost. Once a copy of ours is there, later calls don't need it. */
  overwrite?: boolean
}

export interface DataCopy {
  /** One for each pass, in order. The last one's `durationMs` tells what the next pass will take. */
  passes: DataResult[]
}

/** Written on a host since the last copy, so that a copy over it would lose it. */
export interface Written {
  path: string
  /** The first names, relative to the path. */
  names: string[]
  total: number
}

/** What was found to differ after the last copy: one more round mends what a slow end of the service wrote. */
const finalRounds = 2

/** Whether a service has directories that are copied from or to this host: then it needs rsync. */
export const copiesData = (fleet: Fleet, host: Name): boolean =>
  [...fleet.services.values()].some(({ from, to, data }) => data.length > 0 && (from === host || to === host))

/**
 * Copies all `data` of the service. Live: passes until the difference doesn't shrink any more. Final: the
 * last difference, and then a look that must find none; both hosts remember that they hold the same.
 * Resumable: a call after one that broke off sends only what is missing. Does nothing when `from` holds only
 * what an unfinished copy from `to` has brought there.
 * @throws FleetmoveError 'conflict' when something on `to` would be lost, with nothing changed there;
 *   'verify' when something still differs after the final copy; 'tunnel', 'preflight'
 */
export async function copyData(
  world: World,
  service: Service,
  from: Name,
  to: Name,
  options: CopyOptions,
): Promise<DataCopy> {
  if (service.data.length === 0) return { passes: [] }
  const tunnel = tunnelBetween(world, from, to)
  const copy: Copy = {
    world,
    service,
    source: agentOf(world, from),
    target: agentOf(world, to),
    tunnel,
    overwrite: options.overwrite ?? false,
  }
  if (await hasNothingOfItsOwn(copy)) {
    world.progress.note(service.name, `no data to copy: ${to} has all that ${from} has`)
    return { passes: [] }
  }
  return { passes: await (options.mode === 'live' ? livePasses(copy) : finalPasses(copy)) }
}

/**
 * What was written to the service's data on a host since the last copy to or from it; nothing where no
 * copy was.
 */
export async function writtenSince(world: World, service: Service, host: Name): Promise<Written[]> {
  if (service.data.length === 0) return []
  const directories = await agentOf(world, host).inspectData(service.name, service.data)
  return directories
    .filter((directory) => directory.changedTotal > 0 && directory.state !== 'unknown')
    .map(({ path, changed, changedTotal }) => ({ path, names: changed, total: changedTotal }))
}

/**
 * For the way back after a failed start: the service may go on where it was only if nothing is lost by that.
 * @throws FleetmoveError 'conflict' that names what was written on `host`
 */
export async function refuseLostData(world: World, service: Service, host: Name): Promise<void> {
  const written = await writtenSince(world, service, host)
  if (written.length === 0) return
  const [first] = written
  const total = written.reduce((sum, each) => sum + each.total, 0)
  throw new FleetmoveError('conflict', {
    message: `${service.name} has written data on ${host} since the copy (${total} ${total === 1 ? 'entry' : 'entries'}, e.g. ${first!.names[0]} in ${first!.path}); going back without it would lose that`,
    hint: `look at it on ${host}; \`fleetmove rollback ${service.name}\` copies it back`,
    host,
  })
}

interface Copy {
  world: World
  service: Service
  source: Agent
  target: Agent
  tunnel: number
  overwrite: boolean
}

/**
 * On the way back from a move that didn't come to its final copy: the service never ran on the source,
 * and what is there is an older state of what the target has.
 */
async function hasNothingOfItsOwn({ source, service }: Copy): Promise<boolean> {
  const directories = await source.inspectData(service.name, service.data)
  return directories.every(
    ({ state, changedTotal }) => (state === 'partial' || state === 'whole') && changedTotal === 0,
  )
}

/** Each pass is served anew: what was written before it began is on the source's disk then. */
async function livePasses(copy: Copy): Promise<DataResult[]> {
  const passes: DataResult[] = []
  while (!enough(passes)) passes.push(await serving(copy, true, (served) => pull(copy, served, 'live')))
  return passes
}

async function finalPasses(copy: Copy): Promise<DataResult[]> {
  const { service, source } = copy
  const passes: DataResult[] = []
  let check: DataResult | undefined
  while (passes.length < finalRounds) {
    const same = await serving(copy, false, async (served) => {
      passes.push(await pull(copy, served, 'final'))
      check = await pull(copy, served, 'check')
      if (check.differencesTotal > 0) return false
      await source.recordData(service.name, service.data, served.access.atUs)
      return true
    })
    if (same) return passes
  }
  throw new FleetmoveError('verify', {
    message: `the data of ${service.name} still differs after the last copy (${check!.differencesTotal}): ${check!.differences.slice(0, 3).join('; ')}`,
    hint: `see what still writes there on ${source.host} although the service is stopped`,
    host: source.host,
  })
}

async function serving<T>(
  { service, source, tunnel }: Copy,
  live: boolean,
  use: (served: ServedData) => Promise<T>,
): Promise<T> {
  const served = await source.serveData({ service: service.name, directories: [...service.data], tunnel, live })
  try {
    return await use(served)
  } finally {
    served.stop()
  }
}

function pull(copy: Copy, served: ServedData, mode: 'live' | 'final' | 'check'): Promise<DataResult> {
  const { world, service, target, tunnel, overwrite } = copy
  const words = { live: 'copy data while it runs', final: 'last difference of the data', check: 'compare data' }
  const request = { service: service.name, directories: [...service.data], tunnel, mode, overwrite, ...served.access }
  const told = (result: DataResult): string =>
    mode === 'check'
      ? `${result.differencesTotal || 'no'} differences`
      : `${result.transferredFiles} of ${result.files} files, ${bytes(result.literalBytes)} new of ${bytes(result.totalBytes)}`
  const work = async (running: Running): Promise<DataResult> => {
    const result = await target.pullData(request, teller(running))
    for (const note of result.notes) world.progress.detail(service.name, note)
    return result
  }
  return timed(world.progress, service.name, `${words[mode]}, to ${target.host}`, work, told)
}

/** How far a directory's copy is, and how long it may still take. */
const teller =
  (running: Running) =>
  ({ directory, bytes: done, percent, bytesPerSecond, filesLeft, filesKnown, counted }: DataProgress): void => {
    const total = percent > 0 ? (done * 100) / percent : 0
    // Of a directory that was copied before, most bytes are there: then only the files say how far it is.
    const known = counted && total > done && bytesPerSecond > 0
    const remainingMs = known ? Math.round(((total - done) * 1000) / bytesPerSecond) : undefined
    const left = remainingMs === undefined ? '' : `, ${seconds(remainingMs / 1000)} left at most`
    const files = `${filesLeft} of ${filesKnown}${counted ? '' : ' or more'} files left`
    running.update(`${directory}: ${bytes(done)}, ${bytes(bytesPerSecond)}/s, ${files}${left}`, {
      bytes: done,
      bytesPerSecond,
      filesLeft,
      filesKnown,
      ...(remainingMs === undefined ? {} : { remainingMs }),
    })
  }

export function tunnelBetween(world: World, from: Name, to: Name): number {
  const pair = world.pairs.find((known) => pairKey(known.a, known.b) === pairKey(from, to))
  if (pair) return pair.ends[from]!.index
  throw new FleetmoveError('tunnel', {
    message: `there is no tunnel between ${from} and ${to}`,
    hint: 'run `fleetmove up` first',
  })
}

const bytes = (count: number): string => {
  if (count < 1000) return `${Math.round(count)} B`
  const exponent = Math.min(4, Math.floor(Math.log10(count) / 3))
  return `${(count / 1000 ** exponent).toFixed(1)} ${['B', 'kB', 'MB', 'GB', 'TB'][exponent]}`
}

const seconds = (count: number): string => (count < 120 ? `${Math.ceil(count)} s` : `${Math.ceil(count / 60)} min`)
