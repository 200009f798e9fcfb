import { explain } from '../../controller/explain.js'
import { FleetmoveError } from '../../proto/model/error.js'
import { parseListener } from '../../proto/parse.js'
import type { GlobalOptions } from '../global-options.js'
import { explanationText } from '../render/explain.js'
import { print } from '../render/print.js'
import { withFleet } from '../session.js'

export interface ExplainCommandOptions {
  listener: string | undefined
  /** In ms. */
  wait: number
}

export async function runExplain(
  [client, service]: string[],
  { listener: text, wait, ...options }: GlobalOptions & ExplainCommandOptions,
): Promise<void> {
  const listener = text === undefined ? undefined : parseListener(text)
  if (listener && !listener.ok) {
    throw new FleetmoveError('usage', {
      message: `--listener: found ${listener.found}, allowed ${listener.allowed}`,
      hint: 'give one of the service, such as tcp/443',
    })
  }
  const result = await withFleet(options, (context) =>
    explain(context, { client: client!, service: service!, listener: listener?.value, waitMs: wait }),
  )
  print(options.json ? `${JSON.stringify(result)}\n` : explanationText(result, options.verbose))
}
