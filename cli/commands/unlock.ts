import { unlock } from '../../controller/unlock.js'
import type { GlobalOptions } from '../global-options.js'
import { print } from '../render/print.js'
import { withFleet } from '../session.js'

export async function runUnlock(id: string, options: GlobalOptions): Promise<void> {
  const hosts = await withFleet(options, (context) => unlock(context, id))
  if (options.json) return print(`${JSON.stringify({ type: 'result', hosts })}\n`)
  print(`The lock was taken away on ${hosts.join(', ')}. Whoever held it can change nothing there any more.\n`)
}
