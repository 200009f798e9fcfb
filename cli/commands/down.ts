import { down } from '../../controller/down.js'
import type { GlobalOptions } from '../global-options.js'
import { print } from '../render/print.js'
import { withFleet } from '../session.js'

export async function runDown(options: GlobalOptions): Promise<void> {
  const result = await withFleet(options, down)
  if (options.json) return print(`${JSON.stringify({ type: 'result', ...result })}\n`)
  const returned = result.returned.length > 0 ? ` Back on their old hosts: ${result.returned.join(', ')}.` : ''
  const cleaned =
    result.cleaned.length > 0
      ? `As they were found: ${result.cleaned.join(', ')}.`
      : 'Nothing of fleetmove was on the hosts.'
  print(`${cleaned}${returned}\n`)
}
