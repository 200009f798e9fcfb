/** One operator at a time: the lock of a run, on every host that it is going to change. */
import { randomBytes } from 'node:crypto'
import { hostname, userInfo } from 'node:os'
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import type { Agent, HostLease } from './agents/agent.js'
import { inParallel } from './in-parallel.js'
import type { Site } from './site.js'

/** A third of the agents' lease (agent/lock.ts). */
const renewMs = 10_000
/** An agent that was restarted knows the lock for five seconds; so it is told often that we are still here. */
const returnMs = 500
const returnWithinMs = 10_000

const idBytes = 6

/** Whether it could be the id of a lock at all. */
export const isLockId = (text: string): boolean => new RegExp(`^[0-9a-f]{${2 * idBytes}}$`).test(text)

export class FleetLock {
  readonly id = randomBytes(idBytes).toString('hex')
  private readonly leases = new Map<Name, { agent: Agent; lease: HostLease }>()
  private readonly timer: NodeJS.Timeout
  private released = false

  /** @param command what is going to be done, as it would be typed after `fleetmove` */
  constructor(private readonly command: string) {
    this.timer = setInterval(() => {
      for (const { lease } of this.leases.values()) lease.renew()
    }, renewMs)
    this.timer.unref()
  }

  /**
   * Takes it on those of the hosts that aren't locked yet: on the first by name alone, and then on all others at once.
   * Of two runs over the same hosts one so comes first everywhere.
   * @throws FleetmoveError 'locked' with everything let go again
   */
  async take(sites: Iterable<Site>, agents: ReadonlyMap<Name, Agent>): Promise<void> {
    const missing = [...sites].filter(({ name }) => agents.has(name) && !this.leases.has(name))
    missing.sort((a, b) => (a.name < b.name ? -1 : 1))
    try {
      const lock = async (site: Site): Promise<void> => {
        await this.lease(site.name, agents.get(site.name)!, false)
        site.lockId = this.id
      }
      await inParallel(missing.slice(0, 1), lock)
      await inParallel(missing.slice(1), lock)
    } catch (error) {
      await this.release()
      throw error
    }
  }

  /** Hosts that can't be told any more let go by themselves. */
  async release(): Promise<void> {
    this.released = true
    clearInterval(this.timer)
    await Promise.allSettled([...this.leases.values()].map(({ lease }) => lease.release()))
  }

  /** The refusal, where a host has given the lock up: then whatever else this run says isn't so any more. */
  async lost(): Promise<FleetmoveError | undefined> {
    for (const [host, { agent }] of this.leases) {
      try {
        await this.lease(host, agent, true)
      } catch (error) {
        if (error instanceof FleetmoveError && error.code === 'locked') return error
      }
    }
    return undefined
  }

  private async lease(host: Name, agent: Agent, renew: boolean): Promise<void> {
    const lease = await agent.lock({ id: this.id, owner: operator(), command: this.command, renew })
    this.leases.set(host, { agent, lease })
    void lease.lost.then(() => this.comeBack(host, agent, Date.now() + returnWithinMs))
  }

  /** Without success nothing is to be done: the host refuses whatever this run still wants of it. */
  private async comeBack(host: Name, agent: Agent, until: number): Promise<void> {
    while (!this.released && Date.now() < until) {
      try {
        return await this.lease(host, agent, true)
      } catch {
        await new Promise((resolve) => setTimeout(resolve, returnMs).unref())
      }
    }
  }
}

/** Who runs this, as others are told. */
export function operator(): string {
  try {
    return `${userInfo().username}@${hostname()}`
  } catch {
    // A user id without an entry in passwd, as in containers.
    return `user ${process.getuid?.() ?? '?'}@${hostname()}`
  }
}
