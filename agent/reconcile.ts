/** Keeps the kernel as the spec wants it: looks when something has changed, and mends what something else has undone. */
import type { Host } from './host.js'
import { describeStep } from './kernel/describe-step.js'
import type { Step } from './kernel/step.js'
import { Fights } from './reconcile-fights.js'

export interface Mended {
  /** How often something was mended since the agent began. */
  times: number
  /** Epoch milliseconds of the last one. */
  lastAt: number
  /** What was done then. */
  steps: string[]
}

/** Changes come in bursts: a link that goes takes its addresses and routes with it. */
const settleMs = 50
/** Between two looks, whatever is told meanwhile: at worst this is added to the time until a mend. */
const pauseMs = 400
/** For what nothing tells of: accept_ra, a process that ends without a word, a watch that is missing. */
const pollMs = 30_000
/** For iptables-legacy, which tells nobody of changes, while rules of ours stand there. */
const silentMs = 800

/** What is fought over is the same wherever in a chain it has its place this time: handles grow with every reload. */
const thingOf = (step: Step): string =>
  describeStep(step.do === 'add-firewall-rule' ? { ...step, rule: { ...step.rule, before: 0 } } : step)

export class Reconciler {
  mended: Mended = { times: 0, lastAt: 0, steps: [] }
  private readonly fights = new Fights()
  private readonly poll: NodeJS.Timeout
  private timer: NodeJS.Timeout | undefined
  private again: NodeJS.Timeout | undefined
  private lookedAt = Number.NEGATIVE_INFINITY
  private looking = false
  private noticed = false
  private closed = false
  private lastFailure = ''

  constructor(
    private readonly host: Pick<Host, 'mend' | 'silent'>,
    private readonly log: (message: string, detail?: Record<string, unknown>) => void,
  ) {
    this.poll = setInterval(() => this.notice(), pollMs)
    this.poll.unref()
  }

  /** Something may have changed. Cheap: however often it's called, looks keep their distance. */
  notice(): void {
    this.noticed = true
    if (this.closed || this.looking || this.timer) return
    const wait = Math.max(settleMs, this.lookedAt + pauseMs - performance.now())
    this.timer = setTimeout(() => void this.look(), wait)
    this.timer.unref()
  }

  /** What something else undoes again and again, so that it is let be for a while. */
  get fighting(): string[] {
    return this.fights.resting(performance.now())
  }

  close(): void {
    this.closed = true
    clearInterval(this.poll)
    clearTimeout(this.timer)
    clearTimeout(this.again)
  }

  private async look(): Promise<void> {
    this.timer = undefined
    this.looking = true
    this.noticed = false
    try {
      const steps = await this.host.mend({
        leave: (step) => this.fights.rests(thingOf(step), performance.now()),
        before: (step) => this.count(step),
      })
      if (steps.length > 0) this.tell(steps)
      this.lastFailure = ''
    } catch (error) {
      const message = (error as Error).message
      if (message !== this.lastFailure) this.log('mending failed', { error: message })
      this.lastFailure = message
    } finally {
      this.looking = false
      this.lookedAt = performance.now()
    }
    if (this.noticed) this.notice()
    else if (this.host.silent) this.lookAgain()
  }

  private lookAgain(): void {
    clearTimeout(this.again)
    this.again = setTimeout(() => this.notice(), silentMs)
    this.again.unref()
  }

  /** Steps that fail count as well, or a hopeless one would be tried for ever. */
  private count(step: Step): void {
    const what = thingOf(step)
    const restMs = this.fights.mended(what, performance.now())
    if (restMs === 0) return
    this.log('fighting: undone again and again by something else; let be for a while', { what, seconds: restMs / 1000 })
    // Nothing may happen when the rest is over; then it must be tried again all the same.
    setTimeout(() => this.notice(), restMs + settleMs).unref()
  }

  private tell(steps: readonly Step[]): void {
    this.mended = { times: this.mended.times + 1, lastAt: Date.now(), steps: steps.map(describeStep) }
    this.log('mended', { steps: this.mended.steps })
  }
}
