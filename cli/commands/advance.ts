import { advance, rollback } from '../../controller/advance.js'
import type { Switched } from '../../controller/switch.js'
import { FleetmoveError } from '../../proto/model/error.js'
import type { GlobalOptions } from '../program.js'
import { print } from '../render/print.js'
import { switchedText } from '../render/switched.js'
import { withFleet } from '../session.js'

export async function runAdvance(
  names: string[],
  options: GlobalOptions & { all: boolean; wave?: number },
): Promise<void> {
  const ways = [names.length > 0, options.all, options.wave !== undefined].filter(Boolean).length
  if (ways !== 1) {
    throw new FleetmoveError('usage', {
      message:
        ways === 0
          ? 'advance needs to know what to move'
          : 'advance takes services, --wave or --all, and only one of them',
      hint: 'name services (fleetmove advance web), or a wave (--wave 1), or --all',
    })
  }
  tell(
    await withFleet(options, (context) => advance(context, names, options.wave)),
    options,
    'Every one of them has moved already.',
  )
}

export async function runRollback(names: string[], options: GlobalOptions): Promise<void> {
  tell(
    await withFleet(options, (context) => rollback(context, names)),
    options,
    'Every one of them is on its old host already.',
  )
}

function tell(services: Switched[], options: GlobalOptions, nothing: string): void {
  if (options.json) print(`${JSON.stringify({ type: 'result', services })}\n`)
  else print(services.length === 0 ? `${nothing}\n` : switchedText(services))
}
