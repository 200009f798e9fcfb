import { planUp } from '../../controller/plan-up.js'
import { refuseUnwritable, savePlan } from '../../controller/saved-plan.js'
import { FleetmoveError } from '../../proto/model/error.js'
import type { GlobalOptions } from '../global-options.js'
import { planText } from '../render/plan.js'
import { print } from '../render/print.js'
import { styleFor } from '../render/style.js'
import { withFleet } from '../session.js'

/** Exit code 0 when nothing is to do, 2 when changes are pending, 1 when something stands in their way. */
export async function runPlan(options: GlobalOptions & { out?: string }): Promise<void> {
  const plan = await withFleet(options, async (context) => {
    if (options.out !== undefined) await refuseUnwritable(options.out)
    return planUp(context)
  })
  if (options.json) print(`${JSON.stringify({ type: 'result', ...plan })}\n`)
  else {
    const width = Math.max(80, process.stdout.columns ?? 80)
    print(planText(plan, { style: styleFor(process.stdout), width, verbose: options.verbose, saved: options.out }))
  }
  if (plan.problems.length > 0) {
    throw new AggregateError(plan.problems.map((problem) => new FleetmoveError('preflight', problem)))
  }
  if (options.out !== undefined) await savePlan(plan, options.file, options.out)
  if (plan.pending) process.exitCode = 2
}
