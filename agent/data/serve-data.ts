/** The sending end of a copy: an rsync daemon for one peer, on the tunnel's address, for the time of the call. */
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { FleetmoveError } from '../../proto/model/error.js'
import type { TunnelSpec } from '../../proto/model/host-spec.js'
import { paths } from '../plan/own.js'
import { type BoundProcess, startBound } from './bound-process.js'
import { daemonConfig, logFile, moduleLink, secretsFile } from './daemon-config.js'
import { type DataDirectory, isBare, sourceDirectories } from './directories.js'
import { fileClockUs } from './records.js'

/** What the receiving end needs to know. */
export interface Served {
  port: number
  user: string
  secret: string
  /**
   * This host's clock, in microseconds. Nothing written before has a later ctime; and what is written
   * into a file after the peer has read it gives the file an mtime that isn't earlier.
   */
  atUs: number
  /** Directories without any entry. */
  empty: string[]
}

export interface ServeOptions {
  directories: readonly string[]
  /** The service runs. */
  live: boolean
  tunnel: Pick<TunnelSpec, 'peer' | 'local4' | 'peer4'>
  /** Ends it. */
  signal: AbortSignal
  onReady: (served: Served) => void
  /** Without a connection for so long it ends by itself: its controller has vanished. */
  idleMs?: number
}

const defaultIdleMs = 600_000
const startMs = 5000
const pollMs = 20
/** Somebody else may take the port between our look and the daemon's start. */
const tries = 3
const prefix = 'rsync-'
/** Directories of daemons that this agent runs. */
const current = new Set<string>()

/**
 * Serves until the signal. Nothing listens and no file of it is left when it returns or throws.
 * @throws FleetmoveError 'preflight' (no such directory, no rsync), 'tunnel' (its address isn't there), 'timeout' (idle)
 */
export async function serveData(options: ServeOptions): Promise<void> {
  const directories = await sourceDirectories(options.directories)
  const bare = await Promise.all(directories.map(isBare))
  const empty = directories.filter((_, index) => bare[index]).map(({ path }) => path)
  const atUs = await fileClockUs()
  if (options.live) await flush(directories)
  await sweep()
  const directory = `${paths.run}/${prefix}${randomBytes(6).toString('hex')}`
  const user = randomBytes(8).toString('hex')
  const secret = randomBytes(32).toString('base64url')
  current.add(directory)
  try {
    const { daemon, port } = await start(directory, directories, user, secret, options.tunnel)
    try {
      options.onReady({ port, user, secret, atUs, empty })
      await untilOver(daemon, directory, options)
    } finally {
      await daemon.end()
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
    current.delete(directory)
  }
}

async function start(
  directory: string,
  directories: readonly DataDirectory[],
  user: string,
  secret: string,
  { local4, peer4 }: ServeOptions['tunnel'],
): Promise<{ daemon: BoundProcess; port: number }> {
  let words = ''
  for (let count = 0; count < tries; count++) {
    const port = await freePort(local4)
    // Anew each time: the directory goes with a daemon that failed.
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await writeFile(secretsFile(directory), `${user}:${secret}\n`, { mode: 0o600 })
    const config = `${directory}/rsyncd.conf`
    const text = daemonConfig({ directory, address: local4, port, peer: peer4, user, modules: directories.length })
    await writeFile(config, text, { mode: 0o600 })
    for (const [index, { real }] of directories.entries()) await symlink(real, moduleLink(directory, index))
    words = ''
    const argv = ['rsync', '--daemon', '--no-detach', `--config=${config}`]
    const daemon = startBound({ argv, outside: true, directory, onComplaint: (text) => (words += text) })
    let exited = false
    const over = daemon.exit.finally(() => (exited = true))
    over.catch(() => {})
    try {
      const deadline = performance.now() + startMs
      while (!exited && performance.now() < deadline) {
        if (await answers(local4, port)) return { daemon, port }
        await delay(pollMs)
      }
      words += await lastLog(directory)
      // Says so itself where rsync isn't installed.
      if (exited) await over
    } catch (error) {
      await daemon.end()
      throw error
    }
    await daemon.end()
  }
  throw new FleetmoveError('internal', {
    message: `the rsync daemon doesn't start: ${words.trim() || 'it says nothing'}`,
  })
}

/** @throws FleetmoveError 'tunnel' when the address isn't on this host. */
function freePort(address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (cause) =>
      reject(
        new FleetmoveError('tunnel', {
          message: `the tunnel's address ${address} can't be used: ${cause.message}`,
          hint: 'run `fleetmove up`: it puts the tunnel back',
          cause,
        }),
      ),
    )
    server.listen(0, address, () => {
      const bound = server.address()
      server.close(() => (typeof bound === 'object' && bound ? resolve(bound.port) : reject(new Error('no port'))))
    })
  })
}

/** Whether it listens: from this end it takes no more than a connection. */
function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const end = (up: boolean): void => {
      socket.destroy()
      resolve(up)
    }
    socket.once('connect', () => end(true))
    socket.once('error', () => end(false))
    socket.setTimeout(startMs, () => end(false))
  })
}

async function untilOver(daemon: BoundProcess, directory: string, options: ServeOptions): Promise<void> {
  const { signal, idleMs = defaultIdleMs } = options
  const stop = new AbortController()
  const cancelled = new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true, signal: stop.signal })
  })
  const died = daemon.exit.then(async () => {
    throw new FleetmoveError('internal', { message: `the rsync daemon ended: ${await lastLog(directory)}` })
  })
  // When the call was cancelled, its end is ours.
  died.catch(() => {})
  try {
    await Promise.race([cancelled, died, idle(daemon, idleMs, stop.signal)])
  } finally {
    stop.abort()
  }
}

/** @throws FleetmoveError 'timeout' when no connection was seen for that long. */
async function idle(daemon: BoundProcess, idleMs: number, signal: AbortSignal): Promise<void> {
  let seen = performance.now()
  while (performance.now() - seen < idleMs) {
    await delay(Math.min(10_000, idleMs / 4), undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    // The daemon and the one that waits for our end are always there; each connection is one more.
    if ((await daemon.members()) > 2) seen = performance.now()
  }
  throw new FleetmoveError('timeout', {
    message: `nobody has copied anything for ${idleMs / 1000} s`,
    hint: 'run the command again',
  })
}

/**
 * Writes through a memory mapping change a file's mtime only at the first one to a page, until that page
 * is written to the disk. After this, the next write to any page is a first one (page_mkwrite in Linux).
 */
async function flush(directories: readonly DataDirectory[]): Promise<void> {
  const complaints: string[] = []
  const argv = ['sync', '--file-system', ...directories.map(({ real }) => real)]
  const sync = startBound({ argv, outside: true, directory: '', onComplaint: (text) => complaints.push(text) })
  try {
    if ((await sync.exit) !== 0)
      throw new FleetmoveError('kernel', { message: `can't flush to disk: ${complaints.join('').trim()}` })
  } finally {
    await sync.end()
  }
}

const lastLog = async (directory: string): Promise<string> =>
  (await readFile(logFile(directory), 'utf8').catch(() => '')).trim().split('\n').slice(-3).join(' | ')

/** Directories of an agent that was killed together with everything it had started. */
async function sweep(): Promise<void> {
  for (const name of await readdir(paths.run).catch(() => [] as string[])) {
    const path = `${paths.run}/${name}`
    if (name.startsWith(prefix) && !current.has(path)) await rm(path, { recursive: true, force: true })
  }
}
