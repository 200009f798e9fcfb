/** One voice for errors: the only place where one is printed. */
import { FleetmoveError } from '../../proto/model/error.js'
import { styleFor } from './style.js'

/** @param verbose adds what lies behind: causes and stack traces. */
export function printError(error: unknown, options: { json: boolean; verbose: boolean }): void {
  if (options.json) {
    for (const each of parts(error)) process.stdout.write(`${JSON.stringify({ type: 'error', ...asJson(each) })}\n`)
  }
  const style = styleFor(process.stderr)
  for (const each of parts(error)) {
    const known = each instanceof FleetmoveError ? each : undefined
    const where = known?.host === undefined ? '' : `${known.host}: `
    const message = each instanceof Error ? each.message : String(each)
    process.stderr.write(`${style('red', 'error:')} ${where}${message}\n`)
    if (known?.hint) process.stderr.write(`${style('dim', '  next:')} ${known.hint}\n`)
    if (!known || known.code === 'internal')
      process.stderr.write('  this is a fault of fleetmove: please report it with -v\n')
    if (options.verbose && each instanceof Error) process.stderr.write(`${trail(each)}\n`)
  }
}

/** Several hosts may be in the way at once. */
const parts = (error: unknown): unknown[] => (error instanceof AggregateError ? error.errors.flatMap(parts) : [error])

function asJson(error: unknown): Record<string, unknown> {
  if (!(error instanceof FleetmoveError)) return { code: 'internal', message: String(error) }
  const { code, message, hint, host } = error
  const detail =
    error.cause instanceof Error && 'stragglers' in error.cause ? { stragglers: error.cause.stragglers } : {}
  return { code, message, hint, host, ...detail }
}

function trail(error: Error): string {
  const lines = [error.stack ?? '']
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) lines.push(`caused by ${cause.stack}`)
  return lines.join('\n').replace(/^/gm, '    ')
}
