/**
 * Asks every tunnel's peer each second whether it's there. Since when it isn't, and why, is what `status` tells; and
 * while it isn't, the ruleset treats new clients as the operator chose.
 */
import type { HostSpec, TunnelSpec } from '../proto/model/host-spec.js'

/** Unanswered for so long, and at least so often, a tunnel is silent: one lost packet doesn't turn clients away. */
const silentMs = 3000
const silentQuestions = 3
const pauseMs = 1000
/** Full packets are tried so often while small ones pass. */
const sizeMs = 15_000

export interface TunnelWatchMeans {
  spec(): HostSpec | null
  /** Whether the peer answers; takes a second or two at most. Null: this host was too busy to tell. */
  ask(tunnel: TunnelSpec): Promise<boolean | null>
  /** Why it may not answer. */
  cause(tunnel: TunnelSpec): Promise<string>
  /** The largest packet that gets through; 0: the tunnel's full size does. */
  fits(tunnel: TunnelSpec): Promise<number>
  /**
   * The ruleset is to know these tunnels as silent, for `markedForMs`, and no others.
   * @returns false where there is no ruleset
   */
  mark(silent: readonly number[]): Promise<boolean>
  markedForMs: number
  log(message: string, detail?: Record<string, unknown>): void
}

interface Known {
  peer: string
  mtu: number
  /** By the clock that only goes on. */
  answeredAt: number
  unanswered: number
  silent: boolean
  why: string
  sizedAt: number
  fits: number
}

export class TunnelWatch {
  private readonly known = new Map<number, Known>()
  private closed = false
  private wake = (): void => {}
  private readonly work: Promise<void>
  private markedAt = Number.NEGATIVE_INFINITY
  private lastFailure = ''

  constructor(private readonly means: TunnelWatchMeans) {
    this.work = this.run()
  }

  /** Milliseconds since the last answer, or since the agent began; at least 1. */
  silence(tunnel: number): number {
    const known = this.known.get(tunnel)
    return known ? Math.max(1, Math.round(performance.now() - known.answeredAt)) : 1
  }

  /** Unlike a single question that wasn't answered this is sure; with the cause. */
  silent(tunnel: number): string | null {
    const known = this.known.get(tunnel)
    return known?.silent ? known.why : null
  }

  /** The largest packet that gets through where larger ones vanish; 0: nothing is wrong with sizes. */
  fits(tunnel: number): number {
    return this.known.get(tunnel)?.fits ?? 0
  }

  async close(): Promise<void> {
    this.closed = true
    this.wake()
    await this.work
  }

  private async run(): Promise<void> {
    while (!this.closed) {
      const due = performance.now() + pauseMs
      await this.look().catch((error: Error) => this.fail(error))
      await this.pause(Math.max(50, due - performance.now()))
    }
  }

  private async pause(ms: number): Promise<void> {
    if (this.closed) return
    await new Promise<void>((resolve) => {
      this.wake = resolve
      setTimeout(resolve, ms).unref()
    })
  }

  private async look(): Promise<void> {
    const tunnels = this.means.spec()?.tunnels ?? []
    for (const index of this.known.keys()) if (!tunnels.some((each) => each.index === index)) this.known.delete(index)
    const before = this.marked()
    await Promise.all(tunnels.map((tunnel) => this.askOne(tunnel)))
    const now = this.marked()
    const changed = before.join() !== now.join()
    const lasts = performance.now() < this.markedAt + this.means.markedForMs / 3
    if (!changed && (now.length === 0 || lasts)) return
    this.markedAt = (await this.means.mark(now)) ? performance.now() : Number.NEGATIVE_INFINITY
    this.lastFailure = ''
  }

  private marked(): number[] {
    return [...this.known].filter(([, { silent }]) => silent).map(([index]) => index)
  }

  private async askOne(tunnel: TunnelSpec): Promise<void> {
    const known = this.of(tunnel)
    const begun = performance.now()
    const answered = await this.means.ask(tunnel)
    if (answered === null) return
    if (answered) {
      if (known.silent)
        this.means.log('tunnel answers again', { peer: tunnel.peer, silentMs: this.silence(tunnel.index) })
      Object.assign(known, { answeredAt: performance.now(), unanswered: 0, silent: false, why: '' })
      if (begun >= known.sizedAt + sizeMs) void this.size(tunnel, known)
      return
    }
    known.unanswered += 1
    if (known.unanswered < silentQuestions || performance.now() - known.answeredAt < silentMs) return
    known.why = await this.means.cause(tunnel)
    if (!known.silent) this.means.log('tunnel is silent', { peer: tunnel.peer, why: known.why })
    known.silent = true
  }

  /** Beside the questions: it takes many seconds where packets vanish. */
  private async size(tunnel: TunnelSpec, known: Known): Promise<void> {
    known.sizedAt = Number.POSITIVE_INFINITY
    const fits = await this.means.fits(tunnel)
    if (fits !== known.fits && fits > 0)
      this.means.log('large packets vanish in a tunnel', { peer: tunnel.peer, mtu: tunnel.mtu, fits })
    known.fits = fits
    known.sizedAt = performance.now()
  }

  /** A tunnel that has just been set up gets as much time as one that answered just now. */
  private of({ index, peer, mtu }: TunnelSpec): Known {
    const present = this.known.get(index)
    if (present?.peer === peer && present.mtu === mtu) return present
    const now = performance.now()
    const fresh = { peer, mtu, answeredAt: now, unanswered: 0, silent: false, why: '', sizedAt: now, fits: 0 }
    this.known.set(index, fresh)
    return fresh
  }

  private fail(error: Error): void {
    if (error.message !== this.lastFailure) this.means.log('tunnels could not be looked at', { error: error.message })
    this.lastFailure = error.message
  }
}
