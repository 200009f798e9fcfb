import { readPlan } from '../../controller/saved-plan.js'
import { up } from '../../controller/up.js'
import type { Context } from '../../controller/world.js'
import type { GlobalOptions } from '../global-options.js'
import { print } from '../render/print.js'
import { verificationText } from '../render/verification.js'
import { withFleet } from '../session.js'

/** @param file a plan that is to be done exactly */
export async function runUp(
  file: string | undefined,
  options: GlobalOptions & { logConnections?: boolean },
): Promise<void> {
  const result = await withFleet(options, async (context) =>
    up(logging(context, options.logConnections), file === undefined ? undefined : await readPlan(file, options.file)),
  )
  if (options.json) return print(`${JSON.stringify({ type: 'result', ...result })}\n`)
  print(verificationText(result.verification, { all: options.verbose }))
  print(
    result.changed === 0
      ? 'Nothing was to do: everything stands.\n'
      : 'The new hosts forward to the old ones. Point DNS at the new addresses whenever you like; then: fleetmove advance\n',
  )
}

/** What is said on the command line goes over what fleet.yaml says. */
function logging(context: Context, wanted: boolean | undefined): Context {
  if (wanted === undefined) return context
  return { ...context, fleet: { ...context.fleet, log: { ...context.fleet.log, connections: wanted } } }
}
