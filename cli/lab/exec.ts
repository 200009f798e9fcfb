import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { FleetmoveError } from '../../proto/model/error.js'
import { relatives } from './process.js'

export interface ExecOptions {
  /** Standard input; the command sees end of file at once if it isn't given. */
  input?: string | Buffer
  /** The command and its children are killed after so many milliseconds; an error tells. */
  timeoutMs?: number
  /** Added to a clean environment (PATH, HOME, LANG, TERM). */
  env?: Record<string, string>
}

export interface ExecResult {
  /** The exit code; 128 + the signal's number if a signal ended it, as shells count. */
  code: number
  stdout: string
  stderr: string
}

export interface SpawnOptions {
  env?: Record<string, string>
  /** As in node:child_process; pipes if left away. */
  stdio?: StdioOptions
}

const signalNumbers: Partial<Record<NodeJS.Signals, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
}

/** The exit code that a shell would give for how a process ended. */
export function exitCode(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + ((signal && signalNumbers[signal]) || 0)
}

/** How nsenter(1) enters all namespaces of a process, its root and its working directory. */
export function enterArguments(pid: number, argv: readonly string[]): string[] {
  return ['-t', String(pid), '-m', '-u', '-i', '-n', '-p', '-r', '-w', '--', ...argv]
}

/** The environment of a command in a host. */
export function hostEnvironment(extra: Record<string, string> = {}): Record<string, string> {
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LANG: 'C.UTF-8',
    TERM: process.env.TERM ?? 'dumb',
    ...extra,
  }
}

/**
 * Starts a command in the namespaces of `pid`, in a process group of its own. `kill` of the result signals
 * the command and those of its children that stay in its group, so its exit code is the command's.
 *
 * nsenter, which waits for the command outside, is spared: it wouldn't pass the signal on, and if it
 * ended first, the command's zombie would be left to the machine's init, which in a container may never
 * reap it; a pid namespace can't end before its last zombie.
 */
export function spawnInside(pid: number, argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
  const child = spawn('nsenter', enterArguments(pid, argv), {
    env: hostEnvironment(options.env),
    stdio: options.stdio ?? 'pipe',
    detached: true,
  })
  child.kill = (signal = 'SIGTERM') => signalCommand(child, 'group', signal)
  return child
}

/** Signals what nsenter has started; nsenter itself if it hasn't come to that yet. False if nobody is there. */
function signalCommand(nsenter: ChildProcess, kind: 'children' | 'group', signal: NodeJS.Signals | number): boolean {
  if (nsenter.pid === undefined || nsenter.exitCode !== null || nsenter.signalCode !== null) return false
  const targets = relatives(nsenter.pid, kind)
  // nsenter stops with its command, and must go on with it.
  if (signal === 'SIGCONT') targets.push(nsenter.pid)
  let reached = false
  for (const target of targets.length > 0 ? targets : [nsenter.pid])
    try {
      reached = process.kill(target, signal) || reached
    } catch {
      // It ended in this moment.
    }
  return reached
}

/** Runs a command in the namespaces of `pid` to its end. Rejects only if it can't be started or lasts too long. */
export function execInside(
  pid: number,
  host: string,
  argv: readonly string[],
  options: ExecOptions = {},
): Promise<ExecResult> {
  const child = spawnInside(pid, argv, options.env ? { env: options.env } : {})
  return collect(child, { ...options, host, what: argv.join(' ') })
}

/** Waits for a child with piped stdio to end, feeding it and collecting what it says. */
export function collect(
  child: ChildProcess,
  options: Pick<ExecOptions, 'input' | 'timeoutMs'> & { host?: string; what: string },
): Promise<ExecResult> {
  const { input, timeoutMs, host, what } = options
  return new Promise((resolve, reject) => {
    const out: Buffer[] = []
    const err: Buffer[] = []
    child.stdout?.on('data', (chunk: Buffer) => out.push(chunk))
    child.stderr?.on('data', (chunk: Buffer) => err.push(chunk))
    // A command may end without reading its input: that is no failure of ours.
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
    let late = false
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            late = true
            child.kill('SIGKILL')
          }, timeoutMs)
    child.on('error', (cause) => {
      clearTimeout(timer)
      reject(
        new FleetmoveError('internal', { message: `"${what}" can't be started: ${cause.message}`, ...at(host), cause }),
      )
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      const stderr = Buffer.concat(err).toString()
      if (late)
        reject(
          new FleetmoveError('timeout', {
            message: `"${what}" took longer than ${timeoutMs} ms and was killed${stderr ? `: ${stderr.trim()}` : ''}`,
            ...at(host),
          }),
        )
      else resolve({ code: exitCode(code, signal), stdout: Buffer.concat(out).toString(), stderr })
    })
  })
}

function at(host: string | undefined): { host?: string } {
  return host === undefined ? {} : { host }
}

/**
 * Runs a command in the namespaces of `pid` on this process's own standard input and outputs, in the
 * terminal's foreground process group. Resolves to its exit code. Signals are the command's to answer:
 * nsenter ignores them, and this process waits; what reaches only this process is passed on.
 */
export async function runAttached(pid: number, argv: readonly string[]): Promise<number> {
  const signals = 'INT,QUIT,TERM,HUP'
  const inside = enterArguments(pid, ['env', `--default-signal=${signals}`, ...argv])
  const child = spawn('env', [`--ignore-signal=${signals}`, 'nsenter', ...inside], {
    env: hostEnvironment(),
    stdio: 'inherit',
  })
  const wait = () => {}
  const passOn = (signal: NodeJS.Signals) => signalCommand(child, 'children', signal)
  // The terminal sends the first two to its whole foreground group.
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.on(signal, wait)
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, passOn)
  try {
    return await new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('exit', (code, signal) => resolve(exitCode(code, signal)))
    })
  } finally {
    for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.off(signal, wait)
    for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.off(signal, passOn)
  }
}
