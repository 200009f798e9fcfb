import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FleetmoveError } from '../../proto/model/error.js'
import { namePattern } from '../../proto/model/names.js'
import { identify, isAlive, type ProcessId } from './process.js'

/** What a lab leaves on disk while it lives: a directory a lab, with this as lab.json. */
export interface LabState {
  name: string
  /** A pid and its start time mean nothing after a reboot. */
  bootId: string
  /** `starting` until every host serves. */
  phase: 'starting' | 'up'
  /** The process that starts the lab. */
  maker: ProcessId
  /** The first process of the lab's pid namespace, and unshare(1), which waits for it outside. */
  init?: ProcessId
  launcher?: ProcessId
  /** Each host's first process. */
  hosts: Record<string, ProcessId>
  /** The password that sudo asks of `ops`. */
  opsPassword: string
  /** ISO 8601. */
  startedAt: string
}

// Under /run whoever calls, and with whatever XDG_RUNTIME_DIR: sudo and root must find the same lab.
const base = '/run/fleetmove-lab'

/** The lab's state directory. Throws on a name that is none. */
export function stateDir(name: string): string {
  if (!namePattern.test(name))
    throw new FleetmoveError('usage', {
      message: `"${name}" can't be a lab's name`,
      hint: 'Use up to 32 of a-z, 0-9 and -, beginning with a letter or digit',
    })
  return join(base, name)
}

export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}

/** A lab's state, or undefined where there is no readable one. */
export function readState(name: string): LabState | undefined {
  try {
    return JSON.parse(readFileSync(join(stateDir(name), 'lab.json'), 'utf8')) as LabState
  } catch (error) {
    if (error instanceof FleetmoveError) throw error
    return undefined
  }
}

/** Whether the lab runs, is being started, or is what a crash left. */
export function liveness(state: LabState): 'up' | 'starting' | 'dead' {
  if (state.bootId !== bootId()) return 'dead'
  if (state.phase === 'up') return isAlive(state.init) ? 'up' : 'dead'
  return isAlive(state.maker) ? 'starting' : 'dead'
}

/** Writes the state in one step, so that a reader never sees half of it. */
export async function writeState(state: LabState): Promise<void> {
  await writeInto(stateDir(state.name), state)
}

/**
 * Takes the lab's directory for a lab that starts now. False if there already is one: of two that try
 * at once, one gets it, since rename(2) refuses a target that isn't empty.
 */
export async function claimState(state: LabState): Promise<boolean> {
  const dir = stateDir(state.name)
  const fresh = join(base, `.${state.name}.${process.pid}`)
  await rm(fresh, { recursive: true, force: true })
  await mkdir(join(fresh, 'fs'), { recursive: true, mode: 0o700 })
  await writeInto(fresh, state)
  try {
    await rename(fresh, dir)
    return true
  } catch (error) {
    await rm(fresh, { recursive: true, force: true })
    if (['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) return false
    throw error
  }
}

/**
 * Removes the directory of the lab whose state is `seen` (undefined: a directory without readable state),
 * and what starts that were killed left beside it. Its processes must be gone. The directory of a lab that
 * was started meanwhile stays. False if there was nothing to remove.
 */
export async function removeState(name: string, seen: LabState | undefined): Promise<boolean> {
  const dir = stateDir(name)
  let removed = false
  if (existsSync(dir) && readState(name)?.startedAt === seen?.startedAt) {
    // Out of the way in one step: a start that comes now must not lose its files to our removal.
    const aside = join(base, `.${name}.${process.pid}`)
    await rm(aside, { recursive: true, force: true })
    await rename(dir, aside)
    await rm(aside, { recursive: true, force: true })
    removed = true
  }
  for (const entry of await readdir(base).catch((): string[] => []))
    if (entry.startsWith(`.${name}.`) && !identify(Number(entry.slice(name.length + 2))))
      await rm(join(base, entry), { recursive: true, force: true })
  // The last lab takes the common directory with it; another one's keeps it.
  await rmdir(base).catch(() => {})
  return removed
}

/** This process, as a lab's maker. */
export function ownIdentity(): ProcessId {
  const self = identify(process.pid)
  if (!self)
    throw new FleetmoveError('preflight', { message: "/proc isn't mounted, or belongs to another pid namespace" })
  return self
}

async function writeInto(dir: string, state: LabState): Promise<void> {
  const file = join(dir, 'lab.json')
  await writeFile(`${file}.new`, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 })
  await rename(`${file}.new`, file)
}
