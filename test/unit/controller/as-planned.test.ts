import { refuseOtherSteps } from '../../../controller/as-planned.js'
import type { PlannedPhase } from '../../../controller/plan/fleet-plan.js'
import type { SavedPlan } from '../../../controller/saved-plan.js'
import type { FleetmoveError } from '../../../proto/model/error.js'
import { name } from '../agent/plan/specs.js'

const phase = (what: PlannedPhase['what'], steps: Record<string, string[]>): PlannedPhase => ({
  what,
  hosts: Object.entries(steps).map(([host, each]) => ({ host: name(host), steps: each, ruleset: null, files: [] })),
  last: [],
})
const saved = (...phases: PlannedPhase[]) => ({ phases }) as unknown as SavedPlan
const refusal = (plan: SavedPlan, now: PlannedPhase[]): string[] => {
  try {
    refuseOtherSteps(plan, now)
    return []
  } catch (error) {
    const errors = (error instanceof AggregateError ? error.errors : [error]) as FleetmoveError[]
    return errors.map(({ host, code, message }) => `${code} ${host}: ${message}`)
  }
}
const tunnels = phase('tunnels', { old: ['bring fm1 up with MTU 1440', 'set a to 1'], new: ['x'] })

test('the same steps pass, and the agents are none of its business: they have come by then', () => {
  expect(refusal(saved(phase('agents', { old: ['start'] }), tunnels), [tunnels])).toEqual([])
})

test('steps that differ, are missing or are new are named with their host', () => {
  const now = phase('tunnels', { old: ['bring fm1 up with MTU 1400', 'set a to 1'], new: ['x'] })
  expect(refusal(saved(tunnels), [now])).toEqual([
    'conflict old: the steps are not those of the plan: it would now bring fm1 up with MTU 1400, where the plan says bring fm1 up with MTU 1440',
  ])
  expect(refusal(saved(tunnels), [])).toHaveLength(2)
  expect(refusal(saved(), [phase('forwarding', { new: ['load'] })])).toEqual([
    'conflict new: the steps are not those of the plan: it would now load',
  ])
})
