/** A service's directories, copied from one of its hosts to the other through their tunnel. */

import type { DataProgress, DataResult } from '../proto/gen/fleetmove.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import type { Agent, ServedData } from './agents/agent.js'
import type { Service } from './config/fleet.js'
import { enough } from './plan/copy-passes.js'
import { pairKey } from './plan/tunnel-pair.js'
import { timed } from './progress.js'
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
const tellMs = 5000

/**
 * Copies all `data` of the service. Live: passes until the difference doesn't shrink any more. Final: the
 * last difference, and then a look that must find none; both hosts remember that they hold the same.
 * Resumable: a call after one that broke off sends only what is missing.
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
  const [source, target] = [agentOf(world, from), agentOf(world, to)]
  const request = { service: service.name, directories: [...service.data], tunnel }
  const served = await source.serveData(request)
  try {
    const pull: Pull = (mode) =>
      pullOnce(world, service, target, served, { ...request, mode, overwrite: options.overwrite ?? false })
    if (options.mode === 'live') return { passes: await livePasses(pull) }
    const passes = await finalPasses(pull, service, from)
    await source.recordData(service.name, service.data, served.access.atUs)
    return { passes }
  } finally {
    served.stop()
  }
}

/**
 * What was written to the service's data on a host since the last copy to or from it. For a host that no
 * copy has reached: the files that are there.
 */
export async function writtenSince(world: World, service: Service, host: Name): Promise<Written[]> {
  if (service.data.length === 0) return []
  const directories = await agentOf(world, host).inspectData(service.name, service.data)
  return directories
    .filter((directory) => directory.changedTotal > 0)
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

type Mode = 'live' | 'final' | 'check'
type Pull = (mode: Mode) => Promise<DataResult>

async function livePasses(pull: Pull): Promise<DataResult[]> {
  const passes: DataResult[] = []
  while (!enough(passes)) passes.push(await pull('live'))
  return passes
}

async function finalPasses(pull: Pull, service: Service, from: Name): Promise<DataResult[]> {
  const passes: DataResult[] = []
  for (let round = 1; ; round++) {
    passes.push(await pull('final'))
    const check = await pull('check')
    if (check.differencesTotal === 0) return passes
    if (round < finalRounds) continue
    throw new FleetmoveError('verify', {
      message: `the data of ${service.name} still differs after the last copy (${check.differencesTotal}): ${check.differences.slice(0, 3).join('; ')}`,
      hint: `see what still writes there on ${from} although the service is stopped`,
      host: from,
    })
  }
}

function pullOnce(
  world: World,
  service: Service,
  target: Agent,
  served: ServedData,
  request: { service: string; directories: string[]; tunnel: number; mode: Mode; overwrite: boolean },
): Promise<DataResult> {
  const { port, user, secret, empty } = served.access
  const words = { live: 'copy data while it runs', final: 'last difference of the data', check: 'compare data' }
  const tell = teller(world, service)
  const pull = async (): Promise<DataResult> => {
    const result = await target.pullData({ ...request, port, user, secret, empty }, tell)
    for (const note of result.notes) world.progress.detail(service.name, note)
    return result
  }
  const told = (result: DataResult): string =>
    request.mode === 'check'
      ? `${result.differencesTotal || 'no'} differences`
      : `${result.transferredFiles} of ${result.files} files, ${bytes(result.literalBytes)} new of ${bytes(result.totalBytes)}`
  return timed(world.progress, service.name, `${words[request.mode]}, to ${target.host}`, pull, told)
}

/** A word every few seconds, for copies that take longer. */
function teller(world: World, service: Service): (progress: DataProgress) => void {
  let told = performance.now()
  return ({ directory, bytes: done, percent, bytesPerSecond, filesLeft, filesKnown, counted }) => {
    if (performance.now() - told < tellMs) return
    told = performance.now()
    const total = percent > 0 ? (done * 100) / percent : 0
    // Of a directory that was copied before, most bytes are there: then only the files say how far it is.
    const left =
      counted && total > done && bytesPerSecond > 0 ? `, ${seconds((total - done) / bytesPerSecond)} left at most` : ''
    const files = `${filesLeft} of ${filesKnown}${counted ? '' : ' or more'} files left`
    world.progress.note(service.name, `${directory}: ${bytes(done)}, ${bytes(bytesPerSecond)}/s, ${files}${left}`)
  }
}

function tunnelBetween(world: World, from: Name, to: Name): number {
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
