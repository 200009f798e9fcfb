import { readdirSync, readFileSync } from 'node:fs'

/** A process, told apart from a later one with the same pid by its start time (clock ticks since boot). */
export interface ProcessId {
  pid: number
  start: number
}

/** A process's place: its state letter, parent, process group, and start time. See proc(5), /proc/PID/stat. */
interface ProcessStat extends ProcessId {
  state: string
  parent: number
  group: number
}

function readStat(pid: number): ProcessStat | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // The command's name may hold spaces and parentheses, so fields are counted from the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return {
    pid,
    state: fields[0] ?? '',
    parent: Number(fields[1]),
    group: Number(fields[2]),
    start: Number(fields[19]),
  }
}

/** The pids of a process's children, or of the other members of the process group that it leads. */
export function relatives(pid: number, kind: 'children' | 'group'): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((candidate) => {
      if (!candidate || candidate === pid) return false
      const stat = readStat(candidate)
      return (kind === 'children' ? stat?.parent : stat?.group) === pid
    })
}

/** The identity of a running process; undefined if there is none, or only its zombie. */
export function identify(pid: number): ProcessId | undefined {
  const stat = readStat(pid)
  return stat && stat.state !== 'Z' && stat.state !== 'X' ? { pid, start: stat.start } : undefined
}

/** Whether the very process still runs. */
export function isAlive(process: ProcessId | undefined): boolean {
  return process !== undefined && identify(process.pid)?.start === process.start
}

/** Kills the very process, and waits until it is gone. False if it is still there after `timeoutMs`. */
export async function killAndWait(target: ProcessId, timeoutMs: number): Promise<boolean> {
  if (isAlive(target)) process.kill(target.pid, 'SIGKILL')
  return waitGone(target, timeoutMs)
}

/** Waits until the very process is gone. False if it is still there after `timeoutMs`. */
export async function waitGone(target: ProcessId, timeoutMs: number): Promise<boolean> {
  const end = Date.now() + timeoutMs
  while (isAlive(target)) {
    if (Date.now() > end) return false
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return true
}
