import { status } from '../../controller/status.js'
import type { Stage } from '../../proto/model/host-spec.js'
import type { GlobalOptions } from '../global-options.js'
import { page } from '../render/pager.js'
import { print } from '../render/print.js'
import { statusText } from '../render/status.js'
import { styleFor } from '../render/style.js'
import { withFleet } from '../session.js'

export async function runStatus(names: string[], options: GlobalOptions & { stage: Stage[] }): Promise<void> {
  const result = await withFleet(options, (context) => status(context, names, options.stage))
  if (options.json) return print(`${JSON.stringify(result)}\n`)
  const columns = process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY
  await page(statusText(result, { columns, style: styleFor(process.stdout), now: Date.now() }))
}
