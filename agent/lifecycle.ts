/** Starts and stops a service's process, by the means that fleet.yaml names. */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, open, rm, writeFile } from 'node:fs/promises'
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import { outside, systemdRuns } from './kernel/outside.js'
import { toolPath } from './kernel/tool.js'
import { paths } from './plan/own.js'

export type LifecycleMeans =
  /** A systemd unit. */
  | { kind: 'unit'; unit: string }
  /** A container's name or id; `docker`, or `podman` where only that is installed. */
  | { kind: 'container'; container: string }
  /** A service of a Compose project, by the project's file. */
  | { kind: 'compose'; file: string; composeService: string }
  /** Shell commands; '' where there is nothing to do. */
  | { kind: 'run'; start: string; stop: string }

export type LifecycleAction = 'start' | 'stop'

export interface CommandOptions {
  timeoutMs: number
  /** Added to the command's environment. */
  environment: Readonly<Record<string, string>>
  /** Kills the command. */
  signal?: AbortSignal
}

export interface CommandEnd {
  ok: boolean
  /** The exit code, the signal's name, or 'timeout'. */
  ended: string
  /** The last of stdout and stderr, at most `outputLength` bytes. */
  output: string
}

const outputLength = 8192
const baseEnvironment = { PATH: toolPath, HOME: '/root', LANG: 'C.UTF-8' }
/** After SIGTERM, before SIGKILL. */
const graceMs = 2000
/** journalctl's share of what is shown of a unit that failed. */
const journalLines = '30'

/**
 * Starts or stops, and waits for the end of the command that does it.
 * @param environment e.g. FLEETMOVE_SERVICE, FLEETMOVE_FROM, FLEETMOVE_TO; FLEETMOVE_ACTION is added
 * @returns `ok: false` with the last of the output (for a unit: of its journal) where it failed
 */
export async function runLifecycle(
  service: Name,
  action: LifecycleAction,
  means: LifecycleMeans,
  options: CommandOptions,
): Promise<CommandEnd> {
  const environment = { ...options.environment, FLEETMOVE_SERVICE: service, FLEETMOVE_ACTION: action }
  const withEnvironment = { ...options, environment }
  switch (means.kind) {
    case 'unit':
      return controlUnit(action, means.unit, withEnvironment)
    case 'container':
      return controlContainer(action, means.container, withEnvironment)
    case 'compose':
      return controlCompose(action, means, withEnvironment)
    case 'run':
      return runShell(means[action], `${service}-${action}`, withEnvironment)
  }
}

export type Hook = 'before_move' | 'after_move' | 'on_rollback'

/** Runs an operator's hook; as `runLifecycle` otherwise. */
export function runHook(service: Name, hook: Hook, command: string, options: CommandOptions): Promise<CommandEnd> {
  const environment = { ...options.environment, FLEETMOVE_SERVICE: service, FLEETMOVE_ACTION: hook }
  return runShell(command, `${service}-${hook.replace('_', '-')}`, { ...options, environment })
}

/**
 * One shell command line. Daemons that it leaves behind live on, also when the agent ends: under
 * systemd they get a scope of their own, outside of the agent's unit and its sandbox.
 * @param label names the scope and the file of the output; letters, digits and -
 */
export async function runShell(command: string, label: string, options: CommandOptions): Promise<CommandEnd> {
  if (command.trim() === '') return { ok: true, ended: '0', output: '' }
  if (systemdRuns()) return runInScope(command, label, options)
  // Node has raised its own soft limit to the hard one; with that, daemons that use select(2) or close every
  // possible descriptor fail or crawl (systemd.exec(5), LimitNOFILE=). 1024 is what a unit or a login has.
  const limited = 'ulimit -S -n 1024 2>/dev/null; exec /bin/sh -c "$1"'
  return runCommand(['/bin/sh', '-c', limited, 'sh', command], label, options)
}

/**
 * A scope in place of the transient service alone: it lasts as long as a daemon in it, and `systemctl status`
 * shows it. The command stands in a file, since later versions of systemd-run have words about a `$` in argv.
 */
async function runInScope(command: string, label: string, options: CommandOptions): Promise<CommandEnd> {
  const unit = unitName(label)
  const file = `${paths.run}/${unit}.sh`
  await mkdir(paths.run, { recursive: true, mode: 0o700 })
  await writeFile(file, `${command}\n`, { mode: 0o600 })
  try {
    const scope = [`--unit=${unit}`, `--description=fleetmove: ${label}`, `--property=TimeoutStopSec=${graceMs / 1000}`]
    const shell = ['systemd-run', '--scope', '--collect', '--quiet', ...scope, '--', '/bin/sh', file]
    return await runCommandOutside(shell, label, options, [`${unit}.scope`])
  } finally {
    await rm(file, { force: true })
  }
}

const unitName = (label: string): string => `fleetmove-${label}-${randomBytes(4).toString('hex')}`

/** @param units what ends with it when its time is up, beside its own */
export function runCommandOutside(
  argv: readonly string[],
  label: string,
  options: CommandOptions,
  units: readonly string[] = [],
): Promise<CommandEnd> {
  const unit = `${unitName(label)}-run`
  const environment = { ...baseEnvironment, ...options.environment }
  const command = outside(argv, { unit, environment, description: `fleetmove: ${label}` })
  return runCommand(command, label, options, systemdRuns() ? [...units, `${unit}.service`] : [])
}

async function controlUnit(action: LifecycleAction, unit: string, options: CommandOptions): Promise<CommandEnd> {
  // At once, for clients may be waiting.
  const [own, parts] = await Promise.all([
    runCommand(['systemctl', action, '--', unit], `unit-${action}`, options),
    action === 'stop' ? partsOf(unit, options) : [],
  ])
  const end =
    own.ok && parts.length > 0
      ? await runCommand(['systemctl', action, '--', ...parts], `parts-${action}`, options)
      : own
  // `start` succeeds for a service whose main process ends right after: Type=simple.
  if (end.ok) return end
  const journal = await runCommand(
    ['journalctl', '--no-pager', '--quiet', '-n', journalLines, '-o', 'cat', '-u', unit],
    `journal-${action}`,
    { ...options, timeoutMs: 5000 },
  )
  return { ...end, output: tail(`${end.output}\n${journal.ok ? journal.output : ''}`.trim()) }
}

/**
 * The units that are PartOf= another one. Debian's postfix.service and postgresql.service have no process: those are
 * in their parts, which are ordered before, so that the stop of the one in fleet.yaml is over when theirs begins.
 */
export async function partsOf(unit: string, options: CommandOptions): Promise<string[]> {
  const show = ['systemctl', 'show', '--property=ConsistsOf', '--value', '--', unit]
  const { ok, output } = await runCommand(show, 'unit-parts', options)
  return ok ? output.split(/\s+/).filter((word) => word !== '') : []
}

async function controlContainer(
  action: LifecycleAction,
  container: string,
  options: CommandOptions,
): Promise<CommandEnd> {
  // podman has no daemon: the container would be in our sandbox.
  return runCommandOutside([containerTool(), action, '--', container], `container-${action}`, options)
}

/**
 * `up` makes the container where there is none yet, as on a new host, and starts what the service needs; `stop`
 * stops the service alone (docker-compose(1)).
 */
async function controlCompose(
  action: LifecycleAction,
  { file, composeService }: { file: string; composeService: string },
  options: CommandOptions,
): Promise<CommandEnd> {
  const compose = await composeTool(options)
  const words = action === 'start' ? ['up', '--detach'] : ['stop']
  return runCommandOutside([...compose, '--file', file, ...words, composeService], `compose-${action}`, options)
}

/** The words by which Compose is called. Version 1 is a program of its own. */
export async function composeTool(options: CommandOptions): Promise<string[]> {
  const tool = containerTool()
  const plugin = await runCommandOutside([tool, 'compose', 'version'], 'compose-version', options)
  return plugin.ok ? [tool, 'compose'] : ['docker-compose']
}

/** The command that speaks to the engine of containers. */
export const containerTool = (): 'docker' | 'podman' =>
  toolPath.split(':').some((directory) => existsSync(`${directory}/docker`)) ? 'docker' : 'podman'

/**
 * Runs to the end of the command itself, not of its output: a daemon that it leaves behind keeps that
 * open. The output goes to a file and not to a pipe, so the daemon can still write when we are gone.
 */
export async function runCommand(
  argv: readonly string[],
  label: string,
  options: CommandOptions,
  units: readonly string[] = [],
): Promise<CommandEnd> {
  options.signal?.throwIfAborted()
  await mkdir(paths.run, { recursive: true, mode: 0o700 })
  const path = `${paths.run}/${label}-${randomBytes(6).toString('hex')}.out`
  const file = await open(path, 'wx+', 0o600)
  try {
    // The name goes at once, the file lives as long as somebody writes to it.
    await rm(path)
    const ended = await waitForEnd(argv, file.fd, options, units)
    const { size } = await file.stat()
    const buffer = Buffer.alloc(Math.min(size, outputLength))
    await file.read(buffer, 0, buffer.length, size - buffer.length)
    return { ok: ended === '0', ended, output: tail(buffer.toString('utf8').trim()) }
  } finally {
    await file.close()
  }
}

/** @param units of systemd in which it works; they are stopped when its time is up */
function waitForEnd(
  argv: readonly string[],
  output: number,
  options: CommandOptions,
  units: readonly string[],
): Promise<string> {
  const [command, ...args] = argv
  return new Promise((resolve, reject) => {
    const child = spawn(command as string, args, {
      cwd: '/',
      // A process group of its own, to be killed as a whole; and a session, so that no terminal of ours reaches it.
      detached: true,
      stdio: ['ignore', output, output],
      env: { ...baseEnvironment, ...options.environment },
    })
    let timedOut = false
    let hard: NodeJS.Timeout | undefined
    const kill = (): void => {
      if (units.length > 0) spawn('systemctl', ['stop', ...units], { stdio: 'ignore' }).on('error', () => {})
      signalGroup(child.pid, 'SIGTERM')
      hard = setTimeout(() => signalGroup(child.pid, 'SIGKILL'), graceMs)
    }
    const timer = setTimeout(() => {
      timedOut = true
      kill()
    }, options.timeoutMs)
    options.signal?.addEventListener('abort', kill, { once: true })
    const over = (): void => {
      clearTimeout(timer)
      options.signal?.removeEventListener('abort', kill)
    }
    child.once('error', (cause: NodeJS.ErrnoException) => {
      over()
      reject(
        new FleetmoveError('health', {
          message:
            cause.code === 'ENOENT'
              ? `${command} is not installed on this host`
              : `can't run ${command}: ${cause.message}`,
          hint: `install it, or name another way to start and stop the service in fleet.yaml`,
          cause,
        }),
      )
    })
    // Not 'close', which waits for everybody who holds the output.
    child.once('exit', (code, signal) => {
      over()
      clearTimeout(hard)
      // What the shell started may have outlived its end: of a command that ran out of time nothing stays.
      if (timedOut || options.signal?.aborted) signalGroup(child.pid, 'SIGKILL')
      resolve(timedOut ? 'timeout' : (signal ?? String(code)))
    })
  })
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** The last bytes, from a whole character on. */
function tail(text: string): string {
  const bytes = Buffer.from(text)
  if (bytes.length <= outputLength) return text
  return bytes
    .subarray(bytes.length - outputLength)
    .toString('utf8')
    .replace(/^\ufffd+/, '')
}
