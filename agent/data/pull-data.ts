/** The receiving end of a copy: rsync from the peer's daemon, one directory after another. */
import { FleetmoveError } from '../../proto/model/error.js'
import type { TunnelSpec } from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'
import { startBound } from './bound-process.js'
import { forgetTimes } from './changes.js'
import { moduleName } from './daemon-config.js'
import { type DataDirectory, makeDirectory, targetDirectories } from './directories.js'
import { inspectDirectories, refuseLoss } from './inspect-data.js'
import { type DataRecord, fileClockUs, readRecords, writeRecords } from './records.js'
import {
  addStats,
  type CopyProgress,
  type CopyStats,
  meaningOf,
  noSpace,
  noStats,
  parseProgress,
  parseStat,
} from './rsync-output.js'

export interface PullRequest {
  service: Name
  directories: readonly string[]
  tunnel: Pick<TunnelSpec, 'peer' | 'local4' | 'peer4'>
  port: number
  user: string
  secret: string
  /** live: the service runs on the peer; final: it is stopped; check: only look. */
  mode: 'live' | 'final' | 'check'
  overwrite: boolean
  /** Directories that have no entry on the peer. */
  empty: readonly string[]
  /** The peer's clock when it began to serve. */
  atUs: number
}

export interface PullResult {
  stats: CopyStats
  durationMs: number
  /** Of a check: what differs, as rsync's --itemize-changes tells, the first ones. */
  differences: string[]
  differencesTotal: number
  /** What a live pass couldn't read while it changed. */
  notes: string[]
}

/**
 * Archive: links, modes, owners, times, devices; hard links, ACLs, extended attributes, sparse. No
 * --inplace: it writes through a hard link that the sender has broken since, into the other name too.
 * Then --partial keeps what was sent of a large file for the next call. Deletion at the end, when all is
 * known to have been read; rsync leaves it out after a read error. Times compared by nanoseconds: by
 * default a file of the same size that is written twice in a second counts as the same (3.1.3 or later).
 */
const sameness = ['-aHAXS', '--numeric-ids', '--delete-delay', '--modify-window=-1']
const silenceSeconds = 300
const connectSeconds = 10
const differencesShown = 20
const notesKept = 20

/** Calls that run, by service: a controller that comes back takes over from one that has vanished. */
const running = new Map<Name, { abort: AbortController; over: Promise<unknown> }>()

/**
 * @throws FleetmoveError 'conflict' before anything is changed, when something here would be lost;
 *   'tunnel' when the connection fails: the next call goes on where this one ended
 */
export async function pullData(
  request: PullRequest,
  signal: AbortSignal,
  onProgress: (directory: string, progress: CopyProgress) => void,
): Promise<PullResult> {
  const { service } = request
  for (let before = running.get(service); before; before = running.get(service)) {
    before.abort.abort()
    await before.over.catch(() => {})
  }
  const abort = new AbortController()
  const over = pull(request, AbortSignal.any([signal, abort.signal]), onProgress).finally(() => running.delete(service))
  running.set(service, { abort, over })
  return over
}

async function pull(
  request: PullRequest,
  signal: AbortSignal,
  onProgress: (directory: string, progress: CopyProgress) => void,
): Promise<PullResult> {
  const directories = await targetDirectories(request.directories)
  const begun = performance.now()
  const result: PullResult = { stats: noStats, durationMs: 0, differences: [], differencesTotal: 0, notes: [] }
  const each = async (): Promise<void> => {
    for (const [index, directory] of directories.entries()) {
      const stats = await pullOne(request, index, directory, signal, result, (now) => onProgress(directory.path, now))
      result.stats = addStats(result.stats, stats)
    }
  }
  if (request.mode === 'check') {
    await each()
    if (result.differencesTotal === 0) await markVerified(request)
  } else {
    if (!request.overwrite) refuseLoss(await inspectDirectories(request.service, directories), request.empty)
    const doubts = await begin(request, directories)
    let state: DataRecord['state'] = 'partial'
    try {
      await each()
      state = 'whole'
    } finally {
      // Doubts end with a whole copy, in which everything was read after the peer's present.
      const doubtfulUs = (path: string): number => (state === 'whole' ? request.atUs : doubts.get(path)!)
      const atUs = await fileClockUs()
      await record(request, (path) => ({ state, origin: 'pulled', atUs, doubtfulUs: doubtfulUs(path) }))
    }
  }
  return { ...result, durationMs: Math.round(performance.now() - begun) }
}

/** Makes the directories ready for a copy. @returns since when files are doubtful, until the copy is whole */
async function begin(
  request: PullRequest,
  directories: readonly DataDirectory[],
): Promise<ReadonlyMap<string, number>> {
  const records = await readRecords(request.service)
  const doubts = new Map<string, number>()
  for (const directory of directories) {
    const known = records[directory.path]?.doubtfulUs ?? null
    doubts.set(directory.path, known ?? request.atUs)
    await makeDirectory(directory)
  }
  // What is on disk while a copy runs: that all in it is ours.
  await record(request, (path) => ({ state: 'partial', origin: 'pulled', atUs: null, doubtfulUs: doubts.get(path)! }))
  for (const { path, real } of directories) {
    if (records[path]) await forgetTimes(real, doubts.get(path)!)
  }
  return doubts
}

const record = ({ service, directories }: PullRequest, of: (path: string) => DataRecord): Promise<void> =>
  writeRecords(service, Object.fromEntries(directories.map((path) => [path, of(path)])))

/** What is written here after the copy stays later than it: the moment is not moved on. */
async function markVerified({ service, directories }: PullRequest): Promise<void> {
  const records = await readRecords(service)
  const whole = directories.flatMap((path) => {
    const known = records[path]
    return known && known.origin === 'pulled' && known.state !== 'partial'
      ? [[path, { ...known, state: 'verified' as const }] as const]
      : []
  })
  await writeRecords(service, Object.fromEntries(whole))
}

async function pullOne(
  request: PullRequest,
  index: number,
  { path, real }: DataDirectory,
  signal: AbortSignal,
  result: PullResult,
  onProgress: (progress: CopyProgress) => void,
): Promise<CopyStats> {
  signal.throwIfAborted()
  const check = request.mode === 'check'
  const { local4, peer4 } = request.tunnel
  let stats = noStats
  let progress: CopyProgress | null = null
  const onLine = check
    ? (line: string): void => {
        result.differencesTotal++
        if (result.differences.length < differencesShown) result.differences.push(`${path}: ${line}`)
      }
    : (line: string): void => {
        const now = parseProgress(line, progress)
        if (now) {
          progress = now
          onProgress(now)
        } else stats = { ...stats, ...parseStat(line) }
      }
  const complaints: string[] = []
  const output = lines(onLine)
  const errors = lines((line) => {
    if (complaints.length < notesKept) complaints.push(line)
  })
  const rsync = startBound({
    argv: [
      'rsync',
      ...sameness,
      ...(check ? ['--dry-run', '--out-format=%i %n%L'] : ['--partial', '--info=progress2', '--stats']),
      '--no-human-readable',
      '--outbuf=L',
      `--timeout=${silenceSeconds}`,
      `--contimeout=${connectSeconds}`,
      `--address=${local4}`,
      '--',
      `rsync://${request.user}@${peer4}:${request.port}/${moduleName(index)}/`,
      `${real}/`,
    ],
    outside: true,
    environment: { RSYNC_PASSWORD: request.secret },
    directory: '',
    onOutput: output.feed,
    onComplaint: errors.feed,
  })
  const stop = (): void => void rsync.end()
  signal.addEventListener('abort', stop, { once: true })
  let code: number | null
  try {
    code = await rsync.exit
  } finally {
    signal.removeEventListener('abort', stop)
    await rsync.end()
  }
  output.end()
  errors.end()
  if (signal.aborted)
    throw new FleetmoveError('timeout', {
      message: `the copy of ${path} was cancelled`,
      hint: 'run the command again: it goes on where it was',
    })
  const meaning = meaningOf(code, complaints)
  if (meaning === 'connection') throw connectionFailed(request, path, complaints)
  if (meaning === 'failed' || (meaning === 'changing' && request.mode !== 'live')) throw failed(path, code, complaints)
  if (meaning === 'changing') result.notes.push(...complaints.slice(0, notesKept - result.notes.length))
  return stats
}

/** Whole lines of what comes in pieces; rsync ends a line of progress with a carriage return. */
function lines(onLine: (line: string) => void): { feed: (text: string) => void; end: () => void } {
  let rest = ''
  const give = (line: string): void => {
    if (line.trim() !== '') onLine(line)
  }
  return {
    feed: (text) => {
      const whole = (rest + text).split(/[\r\n]/)
      rest = whole.pop()!
      for (const line of whole) give(line)
    },
    end: () => give(rest),
  }
}

/** The first complaint names the cause, the last is rsync's summary. */
const words = (complaints: readonly string[]): string => complaints[0] ?? 'rsync says nothing'

const connectionFailed = ({ tunnel, port }: PullRequest, path: string, complaints: readonly string[]): FleetmoveError =>
  new FleetmoveError('tunnel', {
    message: `the copy of ${path} from ${tunnel.peer} broke off: ${words(complaints)}`,
    hint: `run the command again: it goes on where it was; if it never begins, look at the firewall of ${tunnel.peer}: it must let TCP in from ${tunnel.local4} to ${tunnel.peer4}, any port above 1023 (${port} this time)`,
  })

const failed = (path: string, code: number | null, complaints: readonly string[]): FleetmoveError =>
  new FleetmoveError('kernel', {
    message: `rsync can't copy ${path} (${code === null ? 'killed' : `code ${code}`}): ${words(complaints)}`,
    hint: noSpace(complaints)
      ? 'make room on the file system of that directory, and run the command again'
      : 'mend that, and run the command again',
  })
