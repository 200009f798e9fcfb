/** The one writer of a host, with moves that are in their gap: see gap-state.ts. */
import { isDeepStrictEqual } from 'node:util'
import { FleetmoveError } from '../../proto/model/error.js'
import type { HostSpec, ServiceSpec } from '../../proto/model/host-spec.js'
import { Host } from '../host.js'
import type { Step } from '../kernel/step.js'
import { type Element, elementsText } from '../plan/elements.js'
import { type KnownChange, servicesOnly } from '../services-only.js'
import { remainingMs } from './deadline.js'
import type { Gap } from './gap-state.js'

export class GappedHost extends Host {
  /** Moves in their gap. */
  get gaps(): readonly Gap[] {
    return this.ledger.current.gaps
  }

  /** A further one, on disk before it resolves, with the rules for both outcomes. Nobody waits yet. */
  addGap(gap: Gap): Promise<void> {
    return this.alone(async () => {
      const before = this.spec
      await this.ledger.save({ gaps: [...this.gaps, gap] })
      await this.bring(before)
    })
  }

  /**
   * On disk before it resolves, and nothing in the kernel changes.
   * @param change may throw: then nothing changes
   */
  changeGap(id: string, change: (gap: Gap) => Gap): Promise<Gap> {
    return this.alone(async () => {
      const { gap, gaps } = this.changed(id, change)
      if (!isDeepStrictEqual(gaps, this.gaps)) await this.ledger.save({ gaps })
      return gap
    })
  }

  /**
   * The kernel as this gap wants it then: where nothing has changed since the last look it is one transaction, for
   * clients wait. The look follows when the gap is closed, and the disk by `saveGaps`.
   * @param also further elements, in the same transaction
   */
  turnGap(id: string, change: (gap: Gap) => Gap, also: readonly Element[] = []): Promise<Gap> {
    return this.alone(async () => {
      const { gap, gaps } = this.changed(id, change)
      const [before, was] = [this.spec, this.gaps]
      this.ledger.note({ gaps })
      try {
        await this.bring(before, also)
      } catch (error) {
        this.ledger.note({ gaps: was })
        throw error
      }
      return gap
    })
  }

  /** Clients have been let go: the outcome's own rules, and none for the other one any more. */
  settleGap(id: string): Promise<void> {
    return this.alone(async () => {
      if (!this.gaps.find((gap) => gap.id === id)?.letGo) return
      const before = this.spec
      this.noteGap(id, (gap) => ({ ...gap, settled: true }))
      await this.bring(before)
    })
  }

  /** Not written: whoever is restarted meanwhile acts earlier, or is told again. */
  noteGap(id: string, change: (gap: Gap) => Gap): Gap {
    const { gap, gaps } = this.changed(id, change)
    this.ledger.note({ gaps })
    return gap
  }

  /** Also just before they wait: the pause would come late on this host alone. */
  protected override get hasNoTime(): boolean {
    return this.gaps.some((gap) => !gap.letGo && remainingMs(gap) > 0)
  }

  /** What `turnGap` has left to be written; a disk that takes nothing is asked again with the next change. */
  saveGaps(): Promise<unknown> {
    return this.alone(() => this.ledger.saveIfPossible({}))
  }

  private async bring(before: HostSpec | null, also: readonly Element[] = []): Promise<void> {
    if (await this.turn(before, also)) return
    if (also.length > 0) await this.kernel.perform({ do: 'change-elements', add: also, remove: [] })
    await this.converge(this.spec, before)
  }

  /** @returns whether that was all; else the kernel isn't as it was seen, and only a look tells what to do. */
  private async turn(before: HostSpec | null, also: readonly Element[]): Promise<boolean> {
    const { seen, spec } = this
    if (seen === null || spec === null || !isDeepStrictEqual(seen.found, this.ledger.current.found)) return false
    const change = servicesOnly(before, spec, seen)
    if (!change) return false
    try {
      await this.kernel.perform(withElements(change.step, also))
    } catch {
      this.seen = null
      return false
    }
    this.seen = { ...seen, observed: change.after }
    return true
  }

  /** Forgets a gap; what is confirmed and what is on trial have the service so from now on. */
  closeGap(id: string, service: ServiceSpec): Promise<void> {
    return this.alone(async () => {
      const { confirmed, trial, gaps } = this.ledger.current
      const settled = (spec: HostSpec): HostSpec => ({
        ...spec,
        services: spec.services.map((each) => (each.name === service.name ? service : each)),
      })
      const before = this.spec
      await this.ledger.save({
        confirmed: confirmed && settled(confirmed),
        trial: trial && { ...trial, spec: settled(trial.spec) },
        gaps: gaps.filter((gap) => gap.id !== id),
      })
      await this.converge(this.spec, before)
    })
  }

  /** Forgets one of which nothing has come. */
  dropGap(id: string): Promise<void> {
    return this.alone(async () => {
      const before = this.spec
      await this.ledger.save({ gaps: this.gaps.filter((gap) => gap.id !== id) })
      // Rules that nothing leads to: the next look takes them out.
      await this.bring(before).catch(() => {})
    })
  }

  private changed(id: string, change: (gap: Gap) => Gap): { gap: Gap; gaps: Gap[] } {
    const known = this.gaps.find((gap) => gap.id === id)
    if (!known) throw gapOver()
    const gap = change(known)
    return { gap, gaps: this.gaps.map((each) => (each === known ? gap : each)) }
  }
}

const withElements = (step: KnownChange['step'], also: readonly Element[]): Step =>
  step.do === 'change-elements'
    ? { ...step, add: [...step.add, ...also] }
    : { ...step, text: `${step.text}${elementsText({ add: also, remove: [] })}` }

/** The agents have ended it without its controller, or a later run has. */
export const gapOver = (): FleetmoveError =>
  new FleetmoveError('stale', {
    message: 'the hosts have ended this move without its controller, which was away for longer than clients may wait',
    hint: 'look at `fleetmove status`, then run the command again',
  })
