import { writeFile } from 'node:fs/promises'
import { fileProblem } from '../../controller/read-file.js'
import { report } from '../../controller/report.js'
import { FleetmoveError } from '../../proto/model/error.js'
import type { GlobalOptions } from '../global-options.js'
import { print } from '../render/print.js'
import { reportPage } from '../render/report/page.js'
import { withFleet } from '../session.js'

export async function runReport(options: GlobalOptions & { output: string }): Promise<void> {
  const result = await withFleet(options, report)
  if (options.json) return print(`${JSON.stringify(result)}\n`)
  const page = reportPage(result)
  if (options.output === '-') return print(page)
  try {
    await writeFile(options.output, page)
  } catch (cause) {
    throw new FleetmoveError('usage', {
      message: `${options.output || 'the file'} can't be written: ${fileProblem(cause as NodeJS.ErrnoException)}`,
      hint: 'name another file: fleetmove report -o FILE',
      cause,
    })
  }
  const missing = result.unasked.map(({ host }) => host)
  print(
    `${options.output} is written${missing.length > 0 ? `, without what ${missing.join(' and ')} knows: not reached` : ''}. Open it in a browser.\n`,
  )
}
