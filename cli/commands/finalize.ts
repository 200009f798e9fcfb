import { parseDuration } from '../../controller/config/duration.js'
import { finalize } from '../../controller/finalize.js'
import { FleetmoveError } from '../../proto/model/error.js'
import type { GlobalOptions } from '../global-options.js'
import { settledText } from '../render/moved.js'
import { print } from '../render/print.js'
import { withFleet } from '../session.js'

export async function runFinalize(
  services: string[],
  options: GlobalOptions & { force: boolean; quiet: string },
): Promise<void> {
  const quiet = parseDuration(options.quiet)
  if (!quiet.ok) {
    throw new FleetmoveError('usage', {
      message: `--quiet: found ${quiet.found}, allowed ${quiet.allowed}`,
      hint: 'give a time such as 1h or 30m',
    })
  }
  const result = await withFleet(options, (context) =>
    finalize(context, { services, force: options.force, quietMs: quiet.value }),
  )
  if (options.json) return print(`${JSON.stringify({ type: 'result', ...result })}\n`)
  const what =
    result.finalized.length === 0 ? 'Nothing was left to finalize' : `Finalized: ${result.finalized.join(', ')}`
  print(`${what}.${result.cut > 0 ? ` ${result.cut} connections were cut.` : ''}\n${settledText(result.addresses)}`)
}
