/**
 * A program that doesn't outlive whoever asked for it: it ends with the request, and with the agent,
 * even one that is killed. Also what it starts itself ends then: all of it is one process group.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { FleetmoveError } from '../../proto/model/error.js'
import { outside } from '../kernel/outside.js'
import { installHint, toolPath } from '../kernel/tool.js'

export interface BoundProcess {
  /** How many processes of it run, the one that waits for our end included. */
  members(): Promise<number>
  /** The exit code, null where a signal ended it; rejects when the program isn't there. */
  exit: Promise<number | null>
  /** Ends the whole group; resolves when nothing of it is left, at the latest after 10 s. */
  end(): Promise<void>
}

export interface BoundOptions {
  argv: readonly string[]
  /** It works on the operator's files: outside of the agent's sandbox, where there is one. */
  outside?: boolean
  /** Neither in argv nor in a unit, which everybody on the host may read. */
  environment?: Readonly<Record<string, string>>
  /** Is removed after the end, also when the agent isn't there any more to do it; '' for none. */
  directory: string
  onOutput?: (text: string) => void
  onComplaint?: (text: string) => void
}

/** After SIGTERM, which lets rsync keep what it has got of a file. */
const graceMs = 5000
const pollMs = 20

/**
 * Tells its process group, then reads its environment from the pipe, up to an empty line. The second process
 * of the group waits for the end of that pipe, which only the agent holds. The program's own input is empty:
 * rsync takes a socket there for a connection that inetd has accepted. The agent's place with the
 * out-of-memory killer is not for it. Once its leader is gone, or 4 s later, the rest of the group is killed: an
 * rsync that receives keeps what it has of a file at SIGTERM, but then waits for its dead parent, and would go on
 * writing beside the next copy.
 */
const script = [
  'echo $$',
  'while IFS= read -r line && [ -n "$line" ]; do export "$line"; done',
  'directory=$1; shift; exec 3<&0',
  '( trap "" TERM; exec </dev/null >/dev/null 2>&1; read -r _ <&3; kill -TERM 0; [ -z "$directory" ] || rm -rf -- "$directory"',
  '  n=0; while kill -0 $$ && [ $n -lt 40 ]; do sleep 0.1; n=$((n + 1)); done; kill -KILL 0 ) &',
  '{ echo 0 >/proc/$$/oom_score_adj; } 2>/dev/null',
  'exec "$@" 3<&- </dev/null',
].join('\n')

export function startBound(options: BoundOptions): BoundProcess {
  const { argv, environment = {}, directory, onOutput, onComplaint } = options
  const shell = ['/bin/sh', '-c', script, 'sh', directory, ...argv]
  const unit = `fleetmove-${argv[0]}-${randomBytes(4).toString('hex')}`
  const [command, ...args] = options.outside ? outside(shell, { unit }) : shell
  const child: ChildProcessWithoutNullStreams = spawn(command!, args, {
    cwd: '/',
    // A group of its own.
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: toolPath, LC_ALL: 'C' },
  })
  // It may have ended before we let go of it.
  child.stdin.on('error', () => {})
  const given = Object.entries({ PATH: toolPath, LC_ALL: 'C', ...environment })
  child.stdin.write(`${given.map(([key, value]) => `${key}=${value}\n`).join('')}\n`)
  let group = 0
  let first = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (group !== 0) return onOutput?.(text)
    first += text
    const end = first.indexOf('\n')
    if (end < 0) return
    group = Number(first.slice(0, end))
    if (end + 1 < first.length) onOutput?.(first.slice(end + 1))
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => onComplaint?.(text))
  let ended = false
  const exit = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 127) reject(notInstalled(argv[0]!))
      else resolve(code)
    })
  })
  // Whoever only calls `end` doesn't ask for it.
  exit.catch(() => {}).finally(() => (ended = true))
  // Before it has told its group it is one that begins.
  const members = async (): Promise<number> => (group === 0 ? (ended ? 0 : 1) : membersOf(group))
  return {
    members,
    exit,
    end: async () => {
      child.stdin.end()
      const begun = performance.now()
      // One that hangs in the kernel (a dead NFS server) can't be waited for.
      while ((await members()) > 0 && performance.now() - begun < 2 * graceMs) {
        if (group !== 0 && performance.now() - begun > graceMs) signalGroup(group, 'SIGKILL')
        await delay(pollMs)
      }
    },
  }
}

const notInstalled = (program: string): FleetmoveError =>
  new FleetmoveError('preflight', {
    message: `${program} is not installed`,
    hint: `${installHint(program)} on this host`,
  })

function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-group, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

/** How many processes of a group run. Dead ones that init hasn't reaped yet take signals, but don't count. */
export async function membersOf(group: number): Promise<number> {
  if (!signalGroup(group, 0)) return 0
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const members = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
      // Fields 3 and 5, proc(5); counted from the end of the name, which may hold anything.
      const [state, , of] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      return Number(of) === group && state !== 'Z' && state !== 'X'
    }),
  )
  return members.filter(Boolean).length
}
