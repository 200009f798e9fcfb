import { up } from '../../controller/up.js'
import type { GlobalOptions } from '../global-options.js'
import { print } from '../render/print.js'
import { verificationText } from '../render/verification.js'
import { withFleet } from '../session.js'

export async function runUp(options: GlobalOptions): Promise<void> {
  const result = await withFleet(options, up)
  if (options.json) return print(`${JSON.stringify({ type: 'result', ...result })}\n`)
  print(verificationText(result.verification, { all: options.verbose }))
  print(
    result.changed === 0
      ? 'Nothing was to do: everything stands.\n'
      : 'The new hosts forward to the old ones. Point DNS at the new addresses whenever you like; then: fleetmove advance\n',
  )
}
