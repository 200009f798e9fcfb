import { status } from '../../controller/status.js'
import type { GlobalOptions } from '../global-options.js'
import { print } from '../render/print.js'
import { statusText } from '../render/status.js'
import { withFleet } from '../session.js'

export async function runStatus(names: string[], options: GlobalOptions): Promise<void> {
  const result = await withFleet(options, (context) => status(context, names))
  print(options.json ? `${JSON.stringify(result)}\n` : statusText(result))
}
