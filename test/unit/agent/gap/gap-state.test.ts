/**
 * Two hosts in a gap, of which any message may be lost and any agent killed at any moment: the model runs the agents'
 * own decisions, and a controller that goes on, gives up, or dies anywhere.
 */
import fc from 'fast-check'
import {
  afterEvent,
  type Gap,
  type GapEvent,
  type GapPhase,
  type GapRole,
  inGap,
  moved,
  nextStep,
} from '../../../../agent/gap/gap-state.js'
import { forward, name, new4, old4, serve, service } from '../plan/specs.js'

const stay = service('web', [serve(['tcp', 443], old4)])
const next = service('web', [forward(['tcp', 443], { local: old4, peer: new4 })], { active: name('new') })
const planOf = (role: GapRole): Gap['plan'] => ({
  ...{ role, stay, next, environment: {}, checks: [], timeoutMs: 1, tunnel: 1, port: 1, secret: '' },
  lifecycle: { kind: 'run', start: '', stop: '' },
})

class Side {
  gap: Gap | null
  runs: boolean
  constructor(readonly role: GapRole) {
    this.runs = role === 'origin'
    const deadline = { boot: '', atMs: 0 }
    this.gap = {
      ...{
        service: name('web'),
        id: '1',
        plan: planOf(role),
        phase: 'open',
        letGo: false,
        met: role === 'target',
        alone: false,
      },
      deadline,
    }
  }
  event(event: GapEvent): boolean {
    const phase = this.gap && afterEvent(this.gap, event)
    if (!this.gap || !phase) return false
    this.gap = { ...this.gap, phase, letGo: event === 'pause' ? false : this.gap.letGo }
    return true
  }
  letGo(toTarget: boolean): boolean {
    if (!this.gap) return false
    const phase =
      toTarget && this.role === 'origin' ? (afterEvent(this.gap, 'learn-started') ?? this.gap.phase) : this.gap.phase
    if (moved({ phase }) !== toTarget) return false
    this.gap = { ...this.gap, phase, letGo: true }
    return true
  }
}

/** Where clients of this side end, and whether anybody is there. */
const sends = ({ gap }: Side, ended: boolean | null): 'nowhere' | 'origin' | 'target' => {
  if (!gap) return ended ? 'target' : 'origin'
  const { routes, active } = inGap(stay, gap)
  return routes[0]?.action.kind === 'pause' ? 'nowhere' : active === 'new' ? 'target' : 'origin'
}

/** What a controller does, in order; each is lost, or done and its answer lost (then it goes on all the same). */
type Act =
  | 'pause origin'
  | 'pause target'
  | 'stop'
  | 'start'
  | 'let-go origin'
  | 'let-go target'
  | 'stop target'
  | 'yield'
  | 'take'
  | 'back origin'
  | 'back target'
const onward: Act[] = ['pause target', 'pause origin', 'stop', 'start', 'let-go origin', 'let-go target']
const back: Act[] = ['pause target', 'pause origin', 'stop target', 'yield', 'take', 'back origin', 'back target']

class Model {
  readonly origin = new Side('origin')
  readonly target = new Side('target')
  ended: boolean | null = null
  private started = false
  private stopped = false

  /** @returns whether the controller may go on: it never takes a step whose reason failed */
  act(act: Act): boolean {
    const { origin, target } = this
    switch (act) {
      case 'pause origin':
        return origin.event('pause')
      case 'pause target':
        return target.event('pause')
      case 'stop':
        if (!origin.event('stop')) return false
        origin.runs = false
        return true
      case 'start':
        if (!target.event('start')) return false
        this.started = true
        target.runs = true
        return true
      case 'stop target':
        if (!this.started) return true
        if (!target.event('stop')) return false
        target.runs = false
        this.stopped = true
        return true
      case 'yield':
        return target.event(this.stopped ? 'yield-stopped' : 'yield')
      case 'take':
        if (!origin.event('learn-yielded')) return false
        origin.runs = true
        return true
      case 'let-go origin':
        return origin.letGo(true)
      case 'let-go target':
        return target.letGo(true)
      case 'back origin':
        return origin.letGo(false)
      case 'back target':
        return target.letGo(false)
    }
  }

  /** One step of an agent whose time is over. @param heard whether the other one is reached, and its answer comes */
  alone(role: GapRole, asked: boolean, heard: boolean): void {
    const side = role === 'origin' ? this.origin : this.target
    const { gap } = side
    if (!gap) return
    const step = nextStep(gap)
    if (step === 'take' || step === 'tell') side.gap = { ...gap, alone: true }
    switch (step) {
      case 'forget':
        side.gap = null
        return
      case 'end':
        this.ended = moved(gap)
        side.gap = null
        return
      case 'give-up':
        side.event('learn-yielded')
        return
      case 'ask': {
        if (!asked || !this.target.gap) return
        this.target.event('yield')
        const there = this.target.gap
        if (!heard || (moved(there) && !there.letGo)) return
        if (moved(there)) side.letGo(true)
        else side.event('learn-yielded')
        return
      }
      case 'take':
        side.runs = true
        side.gap = { ...gap, alone: true, letGo: true }
        return
      case 'tell': {
        const there = this.target.gap
        if (!asked) return
        if (there && moved(gap) === false) this.target.event('yield')
        if (this.target.gap && moved(this.target.gap) !== moved(gap)) return
        this.ended = moved(gap)
        if (this.target.gap) this.target.gap = { ...this.target.gap, met: false, alone: true }
        if (heard) side.gap = null
        return
      }
      case 'wait':
        return
    }
  }
}

const long = Boolean(process.env.FLEETMOVE_LONG)
const runs = { numRuns: long ? 100_000 : 2_000 }

test('never on two hosts, and in the end on exactly one, to which both hosts send', () => {
  const alone = fc.record({
    role: fc.constantFrom<GapRole>('origin', 'target'),
    asked: fc.boolean(),
    heard: fc.boolean(),
  })
  const script = fc.record({
    goes: fc.nat(onward.length),
    turns: fc.boolean(),
    comesBack: fc.nat(back.length),
    lost: fc.array(fc.boolean(), { maxLength: 14 }),
    // Between any two of its calls the agents may think that it is gone.
    between: fc.array(fc.array(alone, { maxLength: 3 }), { maxLength: 14 }),
    after: fc.array(alone, { maxLength: 12 }),
  })
  fc.assert(
    fc.property(script, ({ goes, turns, comesBack, lost, between, after }) => {
      const model = new Model()
      const never = (): void => {
        if (model.origin.runs && model.target.runs) throw new Error('it runs on both')
      }
      const steps = [...onward.slice(0, goes), ...(turns ? back.slice(0, comesBack) : [])]
      let turned = false
      for (const [i, act] of steps.entries()) {
        for (const each of between[i] ?? []) {
          // Nobody has forgotten a gap in which a controller goes on: it is told when that is so, and ends.
          model.alone(each.role, each.asked, each.heard)
          never()
        }
        if (i >= goes) turned = true
        const done = lost[i] ? false : model.act(act)
        never()
        // On the way there a failure turns it back; on the way back it is the end.
        if (!done && turned) break
        if (!done && !turned) {
          if (!turns) break
          turned = true
          for (const later of back.slice(0, comesBack)) if (!model.act(later)) break
          never()
          break
        }
      }
      for (const { role, asked, heard } of after) {
        model.alone(role, asked, heard)
        never()
      }
      // Everybody is reached again.
      for (let i = 0; i < 12; i++) {
        model.alone('target', true, true)
        model.alone('origin', true, true)
        never()
      }
      expect(Number(model.origin.runs) + Number(model.target.runs)).toBe(1)
      const where = model.target.runs ? 'target' : 'origin'
      expect([model.origin, model.target].map((side) => sends(side, model.ended))).toEqual([where, where])
    }),
    runs,
  )
})

test('what is decided stays decided', () => {
  const phases: GapPhase[] = ['open', 'paused', 'started', 'yielded', 'gone', 'back']
  const events: GapEvent[] = ['pause', 'stop', 'start', 'yield', 'learn-yielded', 'learn-started']
  for (const role of ['origin', 'target'] as const)
    for (const phase of phases)
      for (const event of events) {
        const then = afterEvent({ plan: planOf(role), phase, alone: false }, event)
        if (phase === 'yielded' || phase === 'back')
          expect(then === null || moved({ phase: then }) === false).toBe(true)
        if (phase === 'started') expect(then === null || then === 'started').toBe(true)
      }
  expect(afterEvent({ plan: planOf('target'), phase: 'yielded', alone: false }, 'start')).toBeNull()
  expect(afterEvent({ plan: planOf('target'), phase: 'open', alone: false }, 'start')).toBeNull()
})
