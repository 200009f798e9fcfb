/**
 * The gaps of this host: what the controller asks for, and what this agent does without it when the time is over.
 * What is decided stands in gap-state.ts.
 */
import { FleetmoveError } from '../../proto/model/error.js'
import type { Name } from '../../proto/model/names.js'
import { holdBoot, releaseBoot } from '../boot.js'
import { forgetUnanswered } from '../flows/forget.js'
import { awaitAllHealthy } from '../health.js'
import type { HoldCounted, ServiceHolds } from '../hold/service-holds.js'
import type { Conntrack } from '../kernel/conntrack.js'
import { type CommandEnd, runLifecycle } from '../lifecycle.js'
import { deadlineIn, remainingMs } from './deadline.js'
import { changeBoot } from './gap-boot.js'
import { afterEvent, type Gap, type GapEvent, type GapPlan, moved, nextStep, parked } from './gap-state.js'
import {
  answerOrigin,
  askTarget,
  endsOf,
  type GapAnswer,
  type GapEnds,
  type GapQuestion,
  type Listening,
  meetTarget,
} from './gap-talk.js'
import { type GappedHost, gapOver } from './gapped-host.js'

/** Between two tries of what didn't succeed. */
const againMs = 1000
/** Who has waited is served first. */
const settleMs = 500
/** The longest that health is waited for; and how long for a process that may be starting already. */
const [healthMs, startingMs] = [30_000, 5000]

export type GapOutcome = 'origin' | 'target' | 'parked'

/** What this process knows besides; of a gap that it has found in the ledger: nothing. */
interface Own {
  /** One thing at a time. */
  tail: Promise<unknown>
  timer?: NodeJS.Timeout | undefined
  listening?: Listening | undefined
  /** Of the service here: 'never' stopped for this move, 'stopped' to the end of the command. */
  process: 'unknown' | 'never' | 'stopped' | 'started'
  /** What was told last, so that it is told once. */
  told: string
}

export interface GapsOptions {
  host: GappedHost
  holds: ServiceHolds
  conntrack: Conntrack
  /** Ends what would delete base chains while clients are held. */
  clear: () => Promise<void>
  log: (message: string, detail?: Record<string, unknown>) => void
}

export class Gaps {
  private readonly own = new Map<string, Own>()
  private closed = false

  constructor(private readonly options: GapsOptions) {}

  private get host(): GappedHost {
    return this.options.host
  }

  /** After a start: goes on with what the ledger knows. */
  resume(): void {
    for (const gap of this.host.gaps) {
      this.own.set(gap.id, { tail: Promise.resolve(), process: 'unknown', told: '' })
      this.listenAgain(gap)
      this.schedule(gap)
    }
  }

  /** Everything of ours is about to be taken out, or the process ends. */
  async close(): Promise<void> {
    this.closed = true
    const services = this.host.gaps.map(({ service }) => service)
    for (const id of [...this.own.keys()]) this.forget(id)
    for (const service of services) await this.options.holds.cancel(service)
  }

  /**
   * @returns the port at which the target's agent answers, and how clients are going to wait
   * @throws FleetmoveError 'tunnel' when the origin's agent doesn't reach the target's
   */
  async open(service: Name, id: string, plan: GapPlan, forMs: number): Promise<{ port: number; means: string }> {
    const { host, holds, clear } = this.options
    const spec = host.spec?.services.find((each) => each.name === service)
    if (!host.spec || !spec) throw new FleetmoveError('invalid', { message: `this host has no service ${service}` })
    if (host.gaps.some((gap) => gap.service === service || gap.id === id)) {
      throw new FleetmoveError('conflict', {
        message: `${service} is in the gap of another move`,
        hint: 'look at `fleetmove status`, then run the command again',
      })
    }
    const gap: Gap = {
      ...{ service, id, plan, phase: 'open', letGo: false, met: false, alone: false },
      deadline: deadlineIn(forMs),
    }
    const own: Own = { tail: Promise.resolve(), process: 'never', told: '' }
    this.own.set(id, own)
    try {
      if (plan.role === 'target') own.listening = await this.listen(gap)
      const port = own.listening?.port ?? plan.port
      const means = await holds.prepare(host.spec, spec, clear)
      const known = { ...gap, plan: { ...plan, port }, deadline: deadlineIn(forMs) }
      await host.addGap(known)
      await changeBoot(known, holdBoot, this.options.log)
      if (plan.role === 'origin') await meetTarget(known, host.tunnel(plan.tunnel))
      this.schedule(known)
      return { port, means }
    } catch (error) {
      await this.drop(gap).catch(() => this.schedule(gap))
      throw error
    }
  }

  /** Not in turn: what is under way may take long, and that is why it is told. */
  extend(id: string, forMs: number): Gap {
    const later = (gap: Gap): Gap => (remainingMs(gap) >= forMs ? gap : { ...gap, deadline: deadlineIn(forMs) })
    const gap = this.host.noteGap(id, later)
    this.schedule(gap)
    return gap
  }

  /** New clients wait from now on, for at most so long; what the queue can't keep is dropped. */
  pause(id: string, forMs: number): Promise<Gap> {
    return this.inTurn(id, async () => {
      const { host, holds } = this.options
      const { service } = await this.event(id, 'pause', { letGo: false, settled: false, deadline: deadlineIn(forMs) })
      const gap = await host.turnGap(id, (known) => known, holds.elements(service, forMs))
      holds.begun(service, forMs)
      this.schedule(gap)
      return gap
    })
  }

  /** By its command; the end of that is told, whatever it is. */
  run(id: string, action: 'start' | 'stop'): Promise<{ gap: Gap; end: CommandEnd }> {
    return this.inTurn(id, async () => {
      const gap = await this.event(id, action)
      return { gap, end: await this.command(gap, action) }
    })
  }

  /** @param stopped it was started here, and doesn't run any more */
  yield(id: string, stopped: boolean): Promise<Gap> {
    return this.inTurn(id, () => this.event(id, stopped ? 'yield-stopped' : 'yield'))
  }

  /** The controller says so: the other host has yielded, or it was started here. */
  take(id: string): Promise<{ gap: Gap; end: CommandEnd }> {
    return this.inTurn(id, async () => {
      const known = this.find(id)
      const gap = known.plan.role === 'origin' ? await this.event(id, 'learn-yielded') : known
      if (gap.plan.role === 'target' && gap.phase !== 'started') throw gapOver()
      return { gap, end: await this.bringUp(gap) }
    })
  }

  letGo(id: string, toTarget: boolean): Promise<{ gap: Gap; counts: HoldCounted }> {
    return this.inTurn(id, () => this.release(id, toTarget))
  }

  /** Of the two hosts the origin comes first; it tells the target, so that nothing is left there if nobody else does. */
  finish(id: string, outcome: GapOutcome): Promise<void> {
    return this.inTurn(id, async () => {
      const gap = this.find(id)
      const ends = this.ends(gap)
      await this.end(gap, outcome)
      if (gap.plan.role === 'origin' && outcome !== 'parked')
        void askTarget(ends, outcome === 'target' ? 'gone' : 'back').catch(() => {})
    })
  }

  private find(id: string): Gap {
    const gap = this.host.gaps.find((each) => each.id === id)
    if (!gap) throw gapOver()
    return gap
  }

  /** On disk before anything is done because of it. */
  private event(id: string, event: GapEvent, also: Partial<Gap> = {}): Promise<Gap> {
    return this.host.changeGap(id, (gap) => {
      const phase = afterEvent(gap, event)
      if (phase === null) throw gapOver()
      return { ...gap, ...also, phase }
    })
  }

  private async release(id: string, toTarget: boolean): Promise<{ gap: Gap; counts: HoldCounted }> {
    const { host, holds, conntrack } = this.options
    const letting = (gap: Gap): Gap => {
      const learnt = toTarget && gap.plan.role === 'origin' ? afterEvent(gap, 'learn-started') : null
      const next = { ...gap, phase: learnt ?? gap.phase, letGo: true }
      if (moved(next) !== toTarget && !(next.phase === 'open' && !toTarget)) throw gapOver()
      return next
    }
    const { plan, service } = this.find(id)
    const [gap] = await Promise.all([
      host.turnGap(id, letting),
      forgetUnanswered(conntrack, plan.role === 'origin' ? plan.stay : plan.next),
    ])
    const counts = await holds.release(service)
    // Not waited for: what is asked of this agent next comes after it, and who is restarted before asks again.
    void host.saveGaps()
    const settle = (): Promise<void> =>
      host.settleGap(id).catch((error: Error) => this.tell(gap, `failed: ${error.message}`))
    // What it opens itself leaves as before until then.
    const leavesElsewhere = plan.stay.egress !== undefined || plan.next.egress !== undefined
    setTimeout(settle, leavesElsewhere ? 0 : settleMs).unref()
    return { gap, counts }
  }

  private async end(gap: Gap, outcome: GapOutcome): Promise<void> {
    const { id, service, plan } = gap
    const last = outcome === 'target' ? plan.next : outcome === 'origin' ? plan.stay : parked(plan.stay)
    // Where the disk takes nothing the gap lives on, to be ended later.
    await this.host.closeGap(id, last)
    this.forget(id)
    await this.options.holds.cancel(service)
    if (outcome === 'origin') await changeBoot(gap, releaseBoot, this.options.log)
  }

  private async drop(gap: Gap): Promise<void> {
    await this.host.dropGap(gap.id)
    this.forget(gap.id)
    await this.options.holds.cancel(gap.service)
    await changeBoot(gap, releaseBoot, this.options.log)
  }

  private forget(id: string): void {
    const own = this.own.get(id)
    clearTimeout(own?.timer)
    own?.listening?.close()
    this.own.delete(id)
  }

  private async command(gap: Gap, action: 'start' | 'stop'): Promise<CommandEnd> {
    const { service, plan } = gap
    const own = this.own.get(gap.id)
    if (own) own.process = 'unknown'
    const { environment, timeoutMs } = plan
    const end = await runLifecycle(service, action, plan.lifecycle, { environment, timeoutMs })
    if (own && end.ok) own.process = action === 'stop' ? 'stopped' : 'started'
    return end
  }

  /** It runs here and is healthy, whatever was before; `ok` false where that doesn't succeed. */
  private async bringUp(gap: Gap): Promise<CommandEnd> {
    const own = this.own.get(gap.id)
    const origin = gap.plan.role === 'origin'
    if (own?.process === 'never' || own?.process === 'started') return this.healthy(gap, healthMs)
    if (!origin) {
      const known = await this.healthy(gap, startingMs)
      if (known.ok) return known
    }
    // A stop that is under way, or was, would end what is started now.
    if (own?.process !== 'stopped') await this.command(gap, 'stop')
    const start = await this.command(gap, 'start')
    if (!start.ok) return start
    const health = await this.healthy(gap, healthMs)
    // Next time from the beginning.
    if (own && !health.ok) own.process = 'unknown'
    return health
  }

  private healthy({ service, plan }: Gap, withinMs: number): Promise<CommandEnd> {
    return awaitAllHealthy(service, plan.checks, withinMs)
  }

  private inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const own = this.own.get(id)
    if (!own) throw gapOver()
    const run = own.tail.then(work, work)
    own.tail = run.catch(() => undefined)
    return run
  }

  private schedule(gap: Gap, ms = remainingMs(gap)): void {
    const own = this.own.get(gap.id)
    if (!own || this.closed) return
    clearTimeout(own.timer)
    const act = (): Promise<void> => this.inTurn(gap.id, () => this.alone(gap.id))
    own.timer = setTimeout(
      () =>
        act().catch((error: Error) => {
          this.tell(gap, `failed: ${error.message}`)
          this.schedule(gap, againMs)
        }),
      Math.max(0, ms),
    )
  }

  private tell({ id, service, phase }: Gap, what: string): void {
    const own = this.own.get(id)
    if (own?.told === what) return
    if (own) own.told = what
    this.options.log('gap without its controller', { service, phase, what })
  }

  /** No controller has finished in time: step by step, as far as it goes now. */
  private async alone(id: string): Promise<void> {
    for (;;) {
      const gap = this.host.gaps.find((each) => each.id === id)
      if (!gap) return this.forget(id)
      if (remainingMs(gap) > 0) return this.schedule(gap)
      const step = nextStep(gap)
      this.tell(gap, step)
      if (step === 'take' || step === 'tell') await this.host.changeGap(id, (known) => ({ ...known, alone: true }))
      switch (step) {
        case 'wait':
          return
        case 'forget':
          return this.drop(gap)
        case 'end': {
          const target = moved(gap) === true
          if (!gap.letGo) await this.release(id, target)
          return this.end(this.find(id), target ? 'target' : 'origin')
        }
        case 'give-up':
          await this.event(id, 'learn-yielded')
          break
        case 'ask': {
          const answer = await askTarget(this.ends(gap), 'whose')
          if (answer !== 'yielded' && answer !== 'started') return this.schedule(gap, againMs)
          if (answer === 'yielded') await this.event(id, 'learn-yielded')
          else await this.release(id, true)
          break
        }
        case 'take': {
          const end = await this.bringUp(gap)
          if (!end.ok) this.tell(gap, `does not come up (${end.ended}): ${end.output}`)
          if (!end.ok) return this.schedule(gap, againMs)
          await this.release(id, moved(gap) === true)
          break
        }
        case 'tell': {
          const outcome = moved(gap) ? 'target' : 'origin'
          if ((await askTarget(this.ends(gap), outcome === 'target' ? 'gone' : 'back')) !== 'ok')
            return this.schedule(gap, againMs)
          return this.end(gap, outcome)
        }
      }
    }
  }

  /** What the origin asks of the target, which this is. */
  private async answer(id: string, question: GapQuestion): Promise<GapAnswer> {
    if (question === 'hello') {
      // Written with the pause: before that nothing hangs on it.
      this.host.noteGap(id, (gap) => ({ ...gap, met: true }))
      return 'ok'
    }
    // Not in turn: a command may be under way. One of the two is written down first.
    const known = this.find(id)
    const phase = question === 'gone' ? known.phase : (afterEvent(known, 'yield') ?? known.phase)
    const fits = moved({ phase }) === (question === 'gone')
    const over = question !== 'whose' && fits ? { met: false, alone: true, deadline: deadlineIn(0) } : {}
    const gap = await this.host.changeGap(id, (last) => {
      if (last.phase !== known.phase) throw gapOver()
      return { ...last, phase, ...over }
    })
    // Started: not before clients that are sent here are answered.
    if (question === 'whose') return moved(gap) ? (gap.letGo ? 'started' : 'refused') : 'yielded'
    // What follows takes its time, and nothing of it can fail for good: it stands in the ledger.
    if (fits) this.schedule(gap)
    return fits ? 'ok' : 'refused'
  }

  private ends(gap: Gap): GapEnds {
    return endsOf(gap, this.host.tunnel(gap.plan.tunnel))
  }

  private listen(gap: Gap): Promise<Listening> {
    return answerOrigin(this.ends(gap), (question) => this.answer(gap.id, question))
  }

  /** The tunnel's address may not be there yet. */
  private listenAgain(gap: Gap): void {
    const own = this.own.get(gap.id)
    if (gap.plan.role !== 'target' || !own || this.closed) return
    const again = (): void => void setTimeout(() => this.listenAgain(gap), againMs).unref()
    try {
      this.listen(gap).then((listening) => {
        if (this.own.get(gap.id) === own) own.listening = listening
        else listening.close()
      }, again)
    } catch {
      again()
    }
  }
}
