/**
 * Room in connection tracking. A full table turns away every new connection of the host, SSH and the host's own
 * services among them; so what goes through tunnels gives way first, while there is still room for the others.
 */
import { setTimeout as delay } from 'node:timers/promises'

const pauseMs = 250
/** Beyond this, connections of ours that are over are forgotten before their time, down to `tidied`. */
const tidyShare = 0.9
const tidied = 0.8
/** A look through the whole table each time. */
const tidyPauseMs = 5000
/** Beyond this, no further ones of ours are let in, until it is below `tidyShare` again. */
const shedShare = 0.95

export interface RoomMeans {
  /** Whether there is anything of ours here. */
  isOurs(): boolean
  entries(): Promise<number>
  most(): Promise<number>
  /** Forgets connections of ours that are over. @returns how many */
  forgetClosed(most: number): Promise<number>
  /** @returns false where there is no ruleset */
  shed(on: boolean): Promise<boolean>
  shedForMs: number
  log(message: string, detail?: Record<string, unknown>): void
}

export class Room {
  shedding = false
  private shedAt = 0
  private tidiedAt = Number.NEGATIVE_INFINITY
  private readonly ending = new AbortController()
  private readonly work: Promise<void>
  private lastFailure = ''

  constructor(private readonly means: RoomMeans) {
    this.work = this.run()
  }

  async close(): Promise<void> {
    this.ending.abort()
    await this.work
  }

  private async run(): Promise<void> {
    const { signal } = this.ending
    while (!signal.aborted) {
      await this.look().catch((error: Error) => {
        if (error.message !== this.lastFailure)
          this.means.log('connection tracking could not be looked at', { error: error.message })
        this.lastFailure = error.message
      })
      await delay(pauseMs, undefined, { signal, ref: false }).catch(() => {})
    }
  }

  private async look(): Promise<void> {
    if (!this.means.isOurs()) {
      this.shedding = false
      return
    }
    const [entries, most] = await Promise.all([this.means.entries(), this.means.most()])
    if (most === 0) return
    await this.decide(entries, most)
    const now = performance.now()
    if (entries < most * tidyShare || now < this.tidiedAt + tidyPauseMs) return
    const forgotten = await this.means.forgetClosed(entries - Math.floor(most * tidied))
    this.tidiedAt = performance.now()
    if (forgotten > 0) this.means.log('closed connections forgotten, to make room', { forgotten, entries, most })
  }

  private async decide(entries: number, most: number): Promise<void> {
    const wanted = entries >= most * (this.shedding ? tidyShare : shedShare)
    if (!wanted && !this.shedding) return
    const lasts = performance.now() < this.shedAt + this.means.shedForMs / 3
    if (wanted && this.shedding && lasts) return
    const done = await this.means.shed(wanted)
    this.shedAt = performance.now()
    if (wanted !== this.shedding)
      this.means.log(wanted ? 'new connections by tunnels are turned away' : 'there is room again', { entries, most })
    this.shedding = wanted && done
  }
}
