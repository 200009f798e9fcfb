/**
 * The agent's one writer: applies specs one at a time, keeps the ledger, and undoes alone what the
 * controller doesn't confirm.
 */
import { readFile } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { FleetmoveError } from '../proto/model/error.js'
import type { HostSpec, ServiceSpec, TunnelSpec } from '../proto/model/host-spec.js'
import { converge, nothing, observeAll, plan } from './apply.js'
import { inGap } from './gap/gap-state.js'
import { describeStep } from './kernel/describe-step.js'
import type { Kernel } from './kernel/kernel.js'
import type { Step } from './kernel/step.js'
import type { Ledger } from './ledger.js'
import { derive } from './plan/derive.js'
import type { Found } from './plan/difference.js'
import { type Foreseen, foresee } from './plan/foresee.js'
import type { Seen } from './services-only.js'

export interface HostEvents {
  log(message: string, detail?: Record<string, unknown>): void
  /** The chains in netfilter's hooks were loaded: the kernel may only have begun to track connections. */
  tracks?(): Promise<void>
  /** Services are dispatched here now, and none were before. */
  dispatches?(services: readonly ServiceSpec[]): Promise<void>
  /** The kernel has been brought to this spec; null: to nothing. */
  settled?(spec: HostSpec | null): Promise<void>
  /** Everything of ours is about to be taken out of the kernel. */
  leaving?(): Promise<void>
  /** Everything of ours is out of the kernel. */
  left?(): Promise<void>
}

export interface MendOptions {
  /** Steps that are not to be taken. */
  leave: (step: Step) => boolean
  /** Called with each step that is about to be taken. */
  before: (step: Step) => void
}

export class Host {
  /** UDP ports on which the path to a peer is being measured. */
  private readonly measured: number[] = []
  /** Rules of ours stand where no event tells of changes: iptables-legacy's. */
  silent = false
  private queue: Promise<unknown> = Promise.resolve()
  private timer: NodeJS.Timeout | undefined
  /** Generation of the last trial that ran out; 0: none since the start. */
  expired = 0
  /** As the last look saw it; null once something was changed after that look. */
  protected seen: Seen | null = null

  constructor(
    protected readonly kernel: Kernel,
    protected readonly ledger: Ledger,
    private readonly events: HostEvents,
  ) {}

  /** What the kernel is meant to match now: what is confirmed or on trial, with services in a gap as they are in it. */
  get spec(): HostSpec | null {
    return this.now(this.ledger.current.trial?.spec ?? this.ledger.current.confirmed)
  }
  private now(spec: HostSpec | null): HostSpec | null {
    const { gaps } = this.ledger.current
    if (spec === null || gaps.length === 0) return spec
    const treated = (service: ServiceSpec): ServiceSpec => {
      const gap = gaps.find((each) => each.service === service.name)
      return gap ? inGap(service, gap) : service
    }
    return { ...spec, services: spec.services.map(treated) }
  }
  /** @throws FleetmoveError 'invalid' where there is no tunnel of this number */
  tunnel(index: number): TunnelSpec {
    const tunnel = this.spec?.tunnels.find((each) => each.index === index)
    if (tunnel) return tunnel
    throw new FleetmoveError('invalid', { message: `this host has no tunnel ${index}` })
  }

  get confirmed(): HostSpec | null {
    return this.ledger.current.confirmed
  }
  get trial(): { spec: HostSpec; remainingMs: number } | null {
    const trial = this.ledger.current.trial
    return trial && { spec: trial.spec, remainingMs: Math.max(0, trial.deadline - Date.now()) }
  }

  /** The highest that this host has ever taken. */
  get generation(): number {
    return this.ledger.current.generation
  }

  /** After a start: the kernel back to what the ledger says, and a running trial goes on or ends. */
  restore(): Promise<void> {
    return this.alone(async () => {
      const { trial, confirmed } = this.ledger.current
      if (trial && (trial.deadline <= Date.now() || trial.bootId !== (await bootId()))) {
        await this.undo(`the trial of generation ${trial.spec.generation} ended while the agent was down`)
        return
      }
      if (trial) this.schedule(trial.deadline)
      // Also with nothing confirmed: an agent that died while it undid the first spec must end that.
      // Without either there can be what let a path be measured.
      const steps =
        trial || confirmed || this.ledger.current.generation > 0
          ? await this.converge(this.spec)
          : await this.adjustFirewalls()
      if (steps.length > 0) this.events.log('kernel put back to the ledger', { steps: steps.map(describeStep) })
    })
  }

  /**
   * The steps that `apply` would take; changes nothing.
   * @param before a spec that is going to be applied first
   */
  async plan(spec: HostSpec, before?: HostSpec): Promise<Foreseen & { present: string }> {
    const { found } = this.ledger.current
    const observed = await observeAll(this.kernel)
    const present = this.spec ? derive(this.spec, observed, found).ruleset : null
    const isLoaded = present !== null && present.fingerprint === observed.table?.fingerprint
    return {
      ...foresee(observed, found, before ? [before, spec] : [spec], this.spec).at(-1)!,
      present: isLoaded ? present.text : '',
    }
  }

  /**
   * Lets a peer measure the path on this UDP port, through other firewalls of this host.
   * @returns what ends that
   */
  async letMeasure(port: number): Promise<() => Promise<void>> {
    const adjust = (): Promise<unknown> => this.alone(() => this.adjustFirewalls())
    this.measured.push(port)
    const end = async (): Promise<void> => {
      this.measured.splice(this.measured.indexOf(port), 1)
      await adjust()
    }
    try {
      await adjust()
    } catch (error) {
      await end().catch(() => undefined)
      throw error
    }
    return end
  }

  private async adjustFirewalls(): Promise<Step[]> {
    const { found } = this.ledger.current
    const { steps } = await plan(this.kernel, this.spec ?? nothing(null), found, this.measured)
    const due = steps.filter((step) => step.do === 'add-firewall-rule' || step.do === 'remove-firewall-rule')
    for (const step of due) await this.kernel.perform(step)
    return due
  }

  /** Clients wait for a change that comes next: a look takes long, and the change would wait for it. */
  protected get hasNoTime(): boolean {
    return false
  }

  /** The steps that would mend what something else has changed since; none where there is no time to look. */
  async drift(): Promise<Step[]> {
    return this.alone(async () =>
      this.spec && !this.hasNoTime ? (await plan(this.kernel, this.spec, this.ledger.current.found)).steps : [],
    )
  }

  /**
   * Puts back what something else has changed, whether the spec is confirmed or on trial; nothing where there is no
   * time to look.
   * @returns the steps that were taken
   */
  mend({ leave, before }: MendOptions): Promise<Step[]> {
    return this.alone(async () => {
      if (!this.spec || this.hasNoTime) return []
      const { steps, found, desired } = await plan(this.kernel, this.spec, this.ledger.current.found, this.measured)
      this.silent = desired.firewall.some(({ place }) => place.by === 'iptables' && !place.command.endsWith('-nft'))
      const due = steps.filter((step) => !leave(step))
      if (steps.length > 0) this.seen = null
      if (due.length > 0) await this.keep(found)
      for (const step of due) {
        before(step)
        await this.kernel.perform(step)
      }
      await this.tell(due)
      return due
    })
  }

  /**
   * Applies a spec on trial.
   * @throws FleetmoveError 'stale' or 'conflict' with nothing changed, 'rolled-back' when a step failed and everything was undone.
   */
  apply(spec: HostSpec, confirmWithinMs: number): Promise<Step[]> {
    return this.alone(async () => {
      this.check(spec)
      const { confirmed, trial } = this.ledger.current
      if (isDeepStrictEqual(confirmed, spec) && trial === null) return this.converge(this.spec)
      const before = this.spec
      const deadline = Date.now() + confirmWithinMs
      await this.ledger.save({
        trial: { spec, deadline, bootId: await bootId() },
        generation: spec.generation,
      })
      try {
        const steps = await this.converge(this.spec, before)
        if ((before?.services.length ?? 0) === 0 && spec.services.length > 0)
          await this.events.dispatches?.(spec.services)
        this.schedule(deadline)
        this.events.log('applied', { generation: spec.generation, steps: steps.map(describeStep) })
        return steps
      } catch (cause) {
        throw await this.putBack(spec.generation, cause)
      }
    })
  }

  private async putBack(generation: number, cause: unknown): Promise<FleetmoveError> {
    try {
      await this.undo(`generation ${generation} failed`)
    } catch (undoing) {
      return new FleetmoveError('kernel', {
        message: `${(cause as Error).message}; and it could not be undone: ${(undoing as Error).message}`,
        hint: 'mend what stops it on that host, then restart fleetmove-agent there, which ends the undoing',
        cause,
      })
    }
    const why = cause instanceof FleetmoveError ? cause : undefined
    return new FleetmoveError('rolled-back', {
      message: `${(cause as Error).message}; everything on this host was put back`,
      ...(why?.hint === undefined ? {} : { hint: why.hint }),
      cause,
    })
  }

  /** @throws FleetmoveError 'rolled-back' when the trial of this generation isn't running any more. */
  confirm(generation: number): Promise<void> {
    return this.alone(async () => {
      const { trial, confirmed } = this.ledger.current
      if (trial?.spec.generation === generation) {
        // What can't be written is not confirmed: the timer must go on.
        await this.ledger.save({ confirmed: trial.spec, trial: null })
        clearTimeout(this.timer)
        this.events.log('confirmed', { generation })
      } else if (confirmed?.generation !== generation) {
        throw new FleetmoveError('rolled-back', {
          message: `generation ${generation} is no longer on trial here: it was not confirmed in time and has been undone`,
          hint: 'run the command again',
        })
      }
    })
  }

  /** Ends the running trial of this generation at once, as its timer would. */
  revert(generation: number): Promise<Step[]> {
    return this.alone(async () => {
      if (this.ledger.current.trial?.spec.generation !== generation) return []
      return this.undo(`the controller took generation ${generation} back`)
    })
  }

  /** Takes everything back and forgets it. The ledger's file is gone afterwards. */
  leave(generation: number): Promise<Step[]> {
    return this.alone(async () => {
      this.checkGeneration(generation)
      await this.events.leaving?.()
      const steps = await this.converge(null)
      clearTimeout(this.timer)
      await this.events.left?.()
      await this.ledger.forget()
      this.events.log('left', { steps: steps.map(describeStep) })
      return steps
    })
  }

  private check(spec: HostSpec): void {
    const { confirmed, trial } = this.ledger.current
    const held = confirmed ?? trial?.spec
    if (held && (held.fleet !== spec.fleet || held.host !== spec.host)) {
      throw new FleetmoveError('conflict', {
        message: `this host is "${held.host}" of fleet "${held.fleet}", not "${spec.host}" of "${spec.fleet}"`,
        hint: `finish that move first: run \`fleetmove finalize\` or \`fleetmove down\` with its fleet.yaml`,
      })
    }
    // A younger trial makes what is confirmed old.
    const known = trial?.spec ?? confirmed
    const same = known?.generation === spec.generation ? known : undefined
    if (same && !isDeepStrictEqual(same, spec)) {
      throw new FleetmoveError('stale', {
        message: `generation ${spec.generation} is here already with other content`,
        hint: 'another controller works on this fleet: look at `fleetmove status`, then run the command again',
      })
    }
    if (!same) this.checkGeneration(spec.generation)
  }

  private checkGeneration(generation: number): void {
    const newest = this.ledger.current.generation
    if (generation <= newest) {
      throw new FleetmoveError('stale', {
        message: `generation ${generation} comes too late: this host has taken ${newest} already`,
        hint: 'another controller has changed this fleet since: look at `fleetmove status`, then run the command again',
      })
    }
  }

  private schedule(deadline: number): void {
    clearTimeout(this.timer)
    const end = async (): Promise<void> => {
      const trial = this.ledger.current.trial
      // By name and not by the clock, which may have been set back since, and may lag the timer by a millisecond.
      if (trial?.deadline !== deadline) return
      await this.undo(`generation ${trial.spec.generation} was not confirmed in time`)
    }
    this.timer = setTimeout(
      () => this.alone(end).catch((error) => this.events.log('undoing failed', { error: (error as Error).message })),
      Math.max(0, deadline - Date.now()),
    )
  }

  private async undo(reason: string): Promise<Step[]> {
    clearTimeout(this.timer)
    const { trial, confirmed } = this.ledger.current
    // The ledger forgets the trial first: an agent that dies now goes on undoing when it starts again. So does one
    // whose disk takes nothing any more, since it finds a trial whose time is over.
    const unsaved = await this.ledger.saveIfPossible({ trial: null })
    if (trial) this.expired = trial.spec.generation
    this.seen = null
    const { steps, seen } = await converge(
      this.kernel,
      this.now(confirmed) ?? nothing(this.spec),
      this.ledger.current.found,
      async (found) => {
        if (!isDeepStrictEqual(found, this.ledger.current.found)) await this.ledger.saveIfPossible({ found })
      },
      trial?.spec,
    )
    this.seen = seen
    await this.events.settled?.(this.spec)
    this.events.log('undone', { reason, steps: steps.map(describeStep), ...(unsaved && { unsaved: unsaved.message }) })
    return steps
  }

  protected async converge(wanted: HostSpec | null, before: HostSpec | null = null): Promise<Step[]> {
    const { found } = this.ledger.current
    const spec = wanted ?? nothing(this.spec)
    this.seen = null
    const { steps, seen } = await converge(this.kernel, spec, found, (kept) => this.keep(kept), before)
    this.seen = seen
    await this.tell(steps)
    await this.events.settled?.(spec)
    return steps
  }

  private async tell(steps: readonly Step[]): Promise<void> {
    if (steps.some((step) => step.do === 'load-ruleset' && step.hooks)) await this.events.tracks?.()
  }

  private async keep(found: Found): Promise<void> {
    if (!isDeepStrictEqual(found, this.ledger.current.found)) await this.ledger.save({ found })
  }

  /** One change of the kernel at a time, in the order asked for. */
  protected alone<T>(work: () => Promise<T>): Promise<T> {
    const run = this.queue.then(work, work)
    this.queue = run.catch(() => undefined)
    return run
  }
}

const bootId = async (): Promise<string> => (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
