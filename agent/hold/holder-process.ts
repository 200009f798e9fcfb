/** The process that holds (holder.ts), seen from the agent that has started it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { FleetmoveError } from '../../proto/model/error.js'
import { queueNumber } from './hold-rules.js'
import { encodeLine, type HolderCommand, type HolderEvent, type HolderTask, readLines } from './hold-wire.js'
import type { HoldCounts, HoldLimits } from './waiting-room.js'

/**
 * Node starts in a tenth of a second, on a loaded machine in a few, on an emulated one in 15; no client waits yet. Less
 * than a controller gives a call, or it would hear of its own time and not of this.
 */
const startTimeout = 45_000

export interface HolderRequest extends HoldLimits {
  /** Program and arguments, without its task: the agent itself with the verb `hold`. */
  holder: readonly string[]
}

/** The child process, seen from the agent. What is asked of one that is gone answers null or false. */
export class Holder {
  private alive = true
  private readonly exited: Promise<void>
  private readonly waiters = new Set<(event: HolderEvent | null) => void>()
  private said = ''

  private constructor(private readonly child: ChildProcess) {
    this.exited = new Promise((resolve) => {
      const gone = (): void => {
        this.alive = false
        for (const waiter of [...this.waiters]) waiter(null)
        resolve()
      }
      child.once('exit', gone)
      child.once('error', (error) => {
        this.said += error.message
        gone()
      })
    })
    child.stderr?.on('data', (chunk) => {
      this.said = (this.said + String(chunk)).slice(-1000)
    })
    // One that dies while we write.
    child.stdin?.on('error', () => {})
    if (child.stdout) {
      readLines<HolderEvent>(child.stdout, (event) => {
        for (const waiter of [...this.waiters]) waiter(event)
      })
    }
  }

  static async start(request: HolderRequest, slot: number): Promise<Holder> {
    const { maxPackets, maxBytes, holder: argv } = request
    const task: HolderTask = { queue: queueNumber(slot), maxPackets, maxBytes }
    const child = spawn(argv[0]!, [...argv.slice(1), JSON.stringify(task)], { cwd: '/', stdio: 'pipe' })
    const holder = new Holder(child)
    const timer = setTimeout(() => {
      holder.said += `the process that holds them did not start within ${startTimeout / 1000} s`
      child.kill('SIGKILL')
    }, startTimeout)
    const ready = await holder.next('ready')
    clearTimeout(timer)
    if (ready) return holder
    await holder.exited
    throw new FleetmoveError('kernel', {
      message: `new connections can't be queued: ${holder.said.trim() || 'the process that holds them did not start'}`,
      hint: `see which program has netfilter's queue ${queueNumber(slot)}: /proc/net/netfilter/nfnetlink_queue lists them`,
    })
  }

  onExpired(act: () => void): void {
    const waiter = (event: HolderEvent | null): void => {
      if (event === null) this.waiters.delete(waiter)
      if (event?.type === 'empty' && event.why === 'expired') act()
    }
    this.waiters.add(waiter)
  }

  /** Packets come from now on, and go on after so many ms in any case. */
  begin(maxMs: number): void {
    if (this.alive) this.child.stdin?.write(encodeLine({ begin: maxMs }))
  }

  async counts(): Promise<HoldCounts | null> {
    return (await this.ask('counts', 'counts'))?.counts ?? null
  }

  /** @returns whether all went on in order */
  async release(): Promise<boolean> {
    return (await this.ask('release', 'empty')) !== null
  }

  async close(): Promise<HoldCounts | null> {
    const closed = await this.ask('close', 'closed')
    await this.exited
    return closed?.counts ?? null
  }

  async kill(): Promise<void> {
    if (this.alive) this.child.kill('SIGKILL')
    await this.exited
  }

  private ask<T extends HolderEvent['type']>(
    command: HolderCommand,
    type: T,
  ): Promise<Extract<HolderEvent, { type: T }> | null> {
    if (!this.alive) return Promise.resolve(null)
    const answer = this.next(type)
    this.child.stdin?.write(encodeLine(command))
    return answer
  }

  private next<T extends HolderEvent['type']>(type: T): Promise<Extract<HolderEvent, { type: T }> | null> {
    return new Promise((resolve) => {
      if (!this.alive) return resolve(null)
      const waiter = (event: HolderEvent | null): void => {
        if (event !== null && event.type !== type) return
        this.waiters.delete(waiter)
        resolve(event as Extract<HolderEvent, { type: T }> | null)
      }
      this.waiters.add(waiter)
    })
  }
}
