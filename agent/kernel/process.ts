/**
 * Processes that must outlive the agent (OpenVPN, wireguard-go, redirects): each its own session, its output in a
 * file, found again by a pid file. Nobody but us starts them, so a supervisor would have nothing to add
 * but its absence on some hosts.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { FleetmoveError } from '../../proto/model/error.js'
import type { ProcessSpec } from '../plan/desired.js'
import { processFingerprint } from '../plan/difference.js'
import { ownProgram } from '../plan/own.js'
import type { Performers } from './step.js'
import { installHint, toolPath } from './tool.js'

/** What NAME.pid holds. A pid alone is reused; with the start time it is unique until the next boot, and /run is empty then. */
interface Record {
  pid: number
  /** Clock ticks after boot: field 22 of /proc/PID/stat, proc(5). */
  starttime: string
  fingerprint: string
  /** The configuration file to remove with the process. */
  config: string | null
}

/** Programs that fail for want of a key, a port or a privilege do so within milliseconds. */
const settleTime = 300
const readyTimeout = 5_000
const termTimeout = 3_000
const killTimeout = 2_000
const pollInterval = 15
const quotedLines = 4

/** The start time of a process that runs; null for one that is gone, or dead and not yet reaped. */
function startTimeOf(pid: number): string | null {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return null
  }
  // Field 2, the program's name in parentheses, may hold anything, so count from its end: state is field 3.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null)
}

const isAlive = (record: Record): boolean => startTimeOf(record.pid) === record.starttime

function readRecord(file: string): Record | null {
  try {
    const record = JSON.parse(readFileSync(file, 'utf8')) as Record
    return Number.isInteger(record.pid) && record.pid > 1 ? record : null
  } catch {
    // Absent or torn: then nothing is known of such a process.
    return null
  }
}

/** Processes of ours that are alive: name → fingerprint of what they were started with. */
export function observeProcesses(runDirectory: string): { [name: string]: string } {
  let files: string[]
  try {
    files = readdirSync(runDirectory)
  } catch {
    return {}
  }
  const alive: { [name: string]: string } = {}
  for (const file of files.filter((name) => name.endsWith('.pid'))) {
    const record = readRecord(`${runDirectory}/${file}`)
    if (record && isAlive(record)) alive[file.slice(0, -'.pid'.length)] = record.fingerprint
  }
  return alive
}

/** Whole or not at all, and never readable by others: it may hold what must stay secret. */
function writePrivately(file: string, content: string): void {
  const temporary = `${file}.new`
  rmSync(temporary, { force: true })
  writeFileSync(temporary, content, { mode: 0o600, flag: 'wx' })
  renameSync(temporary, file)
}

/** Why a process doesn't run, and what to do. */
interface Failure {
  reason: string
  hint?: string
}

const commandOf = ([program, ...words]: readonly string[]): string[] =>
  program === ownProgram ? [process.execPath, process.argv[1]!, ...words] : [program!, ...words]

interface Started {
  child: ChildProcess
  /** Resolves once the process has ended or could not be started. */
  ended: Promise<Failure>
}

function launch(process: ProcessSpec, log: string): Started {
  const output = openSync(log, 'w', 0o600)
  try {
    // detached is setsid(2). Files instead of pipes: a pipe to a dead agent would kill the process at its next word.
    const [program, ...words] = commandOf(process.argv)
    const child = spawn(program!, words, {
      cwd: '/',
      env: { PATH: toolPath, ...process.env },
      detached: true,
      stdio: ['ignore', output, output],
    })
    child.unref()
    const ended = new Promise<Failure>((resolve) => {
      child.once('error', (error: NodeJS.ErrnoException) => {
        const program = process.argv[0]!
        if (error.code !== 'ENOENT') resolve({ reason: error.message })
        else resolve({ reason: `${program} is not installed`, hint: installHint(program) })
      })
      // Node reaps it as long as this agent lives, afterwards init does.
      child.once('exit', (status, signal) => resolve({ reason: `it ended at once (${signal ?? `status ${status}`})` }))
    })
    return { child, ended }
  } finally {
    closeSync(output)
  }
}

function lastLines(log: string): string {
  try {
    const lines = readFileSync(log, 'utf8')
      .split('\n')
      .map((line) => line.trim())
    return lines
      .filter((line) => line !== '')
      .slice(-quotedLines)
      .join(' | ')
  } catch {
    return ''
  }
}

/** Waits until `condition` holds. @returns whether it did in time */
async function poll(condition: () => boolean | Promise<boolean>, timeout: number): Promise<boolean> {
  const deadline = performance.now() + timeout
  while (!(await condition())) {
    if (performance.now() > deadline) return false
    await delay(pollInterval)
  }
  return true
}

export interface ProcessOptions {
  /** For pid files and logs; made with 0700. */
  runDirectory: string
  /** Clears the way for a process that is about to start. */
  prepare: (process: ProcessSpec) => Promise<void>
  /**
   * Whether a process is ready, where that can be asked. Asked again and again after the start.
   * @returns null where nothing is known of this kind of process: then it must only stay alive a moment
   */
  isReady: (process: ProcessSpec) => Promise<boolean> | null
  /** A process that this agent has started has ended by itself. */
  onEnd: () => void
  /** Removes what a process leaves behind when it ends, by the process's name. */
  sweep: (name: string) => void
}

export const processPerformers = ({
  runDirectory,
  prepare,
  isReady,
  onEnd,
  sweep,
}: ProcessOptions): Pick<Performers, 'start-process' | 'stop-process'> => {
  const files = (name: string): { pid: string; log: string } => {
    if (!/^[a-z0-9][a-z0-9._-]*$/i.test(name)) {
      throw new FleetmoveError('internal', { message: `"${name}" can't name a process's files` })
    }
    return { pid: `${runDirectory}/${name}.pid`, log: `${runDirectory}/${name}.log` }
  }

  const stop = async (name: string): Promise<void> => {
    const { pid, log } = files(name)
    const record = readRecord(pid)
    if (record && isAlive(record)) await end(record, name)
    if (record?.config) rmSync(record.config, { force: true })
    sweep(name)
    rmSync(log, { force: true })
    rmSync(pid, { force: true })
  }

  const start = async (process: ProcessSpec): Promise<void> => {
    const { pid, log } = files(process.name)
    const fingerprint = processFingerprint(process)
    const running = readRecord(pid)
    if (running && isAlive(running)) {
      if (running.fingerprint === fingerprint) return
      await stop(process.name)
    }
    await prepare(process)
    mkdirSync(runDirectory, { recursive: true, mode: 0o700 })
    if (process.config) {
      mkdirSync(dirname(process.config.path), { recursive: true, mode: 0o700 })
      writePrivately(process.config.path, process.config.content)
    }
    const { child, ended } = launch(process, log)
    const starttime = child.pid === undefined ? null : startTimeOf(child.pid)
    // Before anything is awaited: an agent that dies now must find the process again.
    if (child.pid !== undefined && starttime !== null) {
      const record: Record = { pid: child.pid, starttime, fingerprint, config: process.config?.path ?? null }
      writePrivately(pid, JSON.stringify(record))
    }
    const failure = await Promise.race([ended, whenReady(process, ended)])
    if (failure === null) return void ended.then(onEnd)
    const quoted = lastLines(log)
    await stop(process.name)
    // Where even the pid is unknown there is no record that names it.
    if (process.config) rmSync(process.config.path, { force: true })
    throw new FleetmoveError('kernel', {
      message: `${failure.reason}${quoted ? `; its last words: ${quoted}` : ''}`,
      ...(failure.hint === undefined ? {} : { hint: failure.hint }),
    })
  }

  /** null when all is well, else what is missing. Stops asking once the process has ended. */
  const whenReady = async (process: ProcessSpec, ended: Promise<Failure>): Promise<Failure | null> => {
    if (isReady(process) === null) {
      await delay(settleTime)
      return null
    }
    let over = false
    void ended.then(() => {
      over = true
    })
    const ready = await poll(async () => over || (await isReady(process)) === true, readyTimeout)
    return ready ? null : { reason: `it is not ready after ${readyTimeout / 1000} s` }
  }

  return {
    'start-process': ({ process }) => start(process),
    'stop-process': ({ name }) => stop(name),
  }
}

/** TERM to the whole process group (the process leads its session), KILL where it doesn't obey. */
async function end(record: Record, name: string): Promise<void> {
  for (const [signal, timeout] of [
    ['SIGTERM', termTimeout],
    ['SIGKILL', killTimeout],
  ] as const) {
    try {
      process.kill(-record.pid, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
    if (await poll(() => !isAlive(record), timeout)) return
  }
  throw new FleetmoveError('kernel', { message: `process ${record.pid} (${name}) does not end, not even when killed` })
}
