import { advance, rollback } from '../../controller/advance.js'
import type { CanaryPlan } from '../../controller/canary.js'
import type { Moved } from '../../controller/move-state.js'
import { parseSteps } from '../../controller/plan/canary-verdict.js'
import { FleetmoveError } from '../../proto/model/error.js'
import { parsePrefix } from '../../proto/parse.js'
import type { GlobalOptions } from '../global-options.js'
import { movedText } from '../render/moved.js'
import { print } from '../render/print.js'
import { withFleet } from '../session.js'

export interface AdvanceCommandOptions {
  all: boolean
  wave?: number
  gate: boolean
  parallel: number
  maxFailures: number
  canary?: string
  /** In ms. */
  bake: number | undefined
  only?: string
  overwriteData: boolean
}

export async function runAdvance(names: string[], options: GlobalOptions & AdvanceCommandOptions): Promise<void> {
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
  const { wave, parallel, maxFailures, gate, overwriteData } = options
  const plan = { services: names, wave, parallel, maxFailures, gate, overwriteData, canary: canaryPlan(options) }
  tell(await withFleet(options, (context) => advance(context, plan)), options, 'Every one of them has moved already.')
}

const defaultBakeMs = 30_000

function canaryPlan({ canary, bake, only }: AdvanceCommandOptions): CanaryPlan | undefined {
  if (canary === undefined && only === undefined) {
    if (bake === undefined) return undefined
    throw new FleetmoveError('usage', {
      message: '--bake is how long each step of a canary is watched, and there is no canary',
      hint: 'add --canary 5,25,100 or --only PREFIX, or leave --bake away',
    })
  }
  const steps = canary === undefined ? [] : parseSteps(canary)
  if (steps === null) {
    throw new FleetmoveError('usage', {
      message: `--canary: found "${canary}", allowed are rising shares in percent up to 100`,
      hint: 'write e.g. --canary 5,25,100',
    })
  }
  const prefixes = (only ?? '')
    .split(',')
    .filter((text) => text !== '')
    .map(parsePrefix)
  if (only !== undefined && prefixes.length === 0) {
    throw new FleetmoveError('usage', {
      message: '--only: found nothing, allowed one prefix or more, with commas',
      hint: 'write e.g. --only 198.18.0.0/16,2001:db8::/32',
    })
  }
  const bad = prefixes.find((prefix) => !prefix.ok)
  if (bad && !bad.ok) {
    throw new FleetmoveError('usage', {
      message: `--only: found ${bad.found}, allowed ${bad.allowed}`,
      hint: 'write e.g. --only 198.18.0.0/16,2001:db8::/32',
    })
  }
  return { steps, bakeMs: bake ?? defaultBakeMs, only: prefixes.flatMap((prefix) => (prefix.ok ? [prefix.value] : [])) }
}

export async function runRollback(names: string[], options: GlobalOptions): Promise<void> {
  tell(
    await withFleet(options, (context) => rollback(context, names)),
    options,
    'Every one of them is on its old host already.',
  )
}

function tell(services: Moved[], options: GlobalOptions, nothing: string): void {
  if (options.json) print(`${JSON.stringify({ type: 'result', services })}\n`)
  else print(services.length === 0 ? `${nothing}\n` : movedText(services))
}
