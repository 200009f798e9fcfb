/**
 * One operator at a time: who may change this host now. A lease, so that a dead owner's ends by itself; its
 * random id is the fencing token: what bears the id of a lock that has ended is refused for ever.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { FleetmoveError } from '../proto/model/error.js'

export interface LockOwner {
  id: string
  /** user@machine */
  owner: string
  /** What runs there, as it was typed. */
  command: string
}

export interface HeldLock extends LockOwner {
  /** Epoch milliseconds. */
  since: number
  /** Until then, unless it is renewed, in ms. */
  remainingMs: number
}

/** Three renewals of the controller may get lost (controller/lock.ts). */
export const leaseMs = 30_000
/** After a restart nobody is connected: time for the owner to come back. */
const graceMs = 5000

interface Current extends LockOwner {
  since: number
  /** By performance.now(), since clocks are set. */
  deadline: number
}

const format = z.object({
  id: z.string(),
  owner: z.string(),
  command: z.string(),
  since: z.number(),
  until: z.number(),
})

export class HostLock {
  private current: Current | null = null
  /** Told of each new owner's id. */
  onTaken: (id: string) => void = () => {}

  /** @param path of the file that lets the lock outlive this process; in a directory that a boot empties */
  constructor(private readonly path: string) {
    try {
      const { until, ...owner } = format.parse(JSON.parse(readFileSync(path, 'utf8')))
      const left = Math.min(graceMs, until - Date.now())
      if (left > 0) this.current = { ...owner, deadline: performance.now() + left }
    } catch {
      // Absent or torn: nobody's.
    }
  }

  get held(): HeldLock | null {
    if (this.current && this.current.deadline <= performance.now()) this.current = null
    if (!this.current) return null
    const { deadline, ...owner } = this.current
    return { ...owner, remainingMs: deadline - performance.now() }
  }

  /** @throws FleetmoveError 'locked' while somebody else has it. */
  take(owner: LockOwner): void {
    const { held } = this
    if (held && held.id !== owner.id) throw inUse(held)
    this.keep({ ...owner, since: held?.since ?? Date.now(), deadline: 0 })
    if (!held) this.onTaken(owner.id)
  }

  /** @throws FleetmoveError 'locked' when it has ended meanwhile, whether or not somebody else has it. */
  renew(id: string): void {
    this.check(id)
    this.keep(this.current!)
  }

  /** @returns false where this isn't the lock that is held */
  release(id: string): boolean {
    if (this.held?.id !== id) return false
    this.current = null
    rmSync(this.path, { force: true })
    return true
  }

  /**
   * Whether whoever bears this id ('' for none) may change the host.
   * @throws FleetmoveError 'locked'
   */
  check(id: string): void {
    const { held } = this
    if (held?.id === id || (id === '' && !held)) return
    if (id === '') throw inUse(held!)
    const now = held ? `; ${describe(held)} now` : ''
    throw new FleetmoveError('locked', {
      message: `the lock of this run (${id}) has run out or was taken away, so it can change nothing any more${now}`,
      hint: 'look at `fleetmove status`, then run the command again',
    })
  }

  private keep(lock: Current): void {
    this.current = { ...lock, deadline: performance.now() + leaseMs }
    const { deadline: _deadline, ...owner } = this.current
    const temporary = `${this.path}.new`
    writeFileSync(temporary, JSON.stringify({ ...owner, until: Date.now() + leaseMs }), { mode: 0o600 })
    renameSync(temporary, this.path)
  }
}

const inUse = (held: HeldLock): FleetmoveError =>
  new FleetmoveError('locked', {
    message: `somebody else is at work: ${describe(held)}, and its lock ${held.id} lasts ${Math.ceil(held.remainingMs / 1000)} s more unless it is renewed`,
    hint: `wait for that command to end; if it is dead: fleetmove unlock ${held.id}`,
  })

const describe = ({ owner, command, since }: HeldLock): string =>
  `${owner} runs "fleetmove ${command}" since ${new Date(since).toISOString().slice(0, 19)}Z`
