import { type ErrorCode, FleetmoveError } from '../proto/model/error.js'

const codes: Partial<Record<ErrorCode, number>> = {
  usage: 64,
  'rolled-back': 3,
  locked: 4,
  verify: 5,
  gate: 6,
}

/** The contract's exit codes (docs: exit codes): 1 where an error has none of its own. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof AggregateError) {
    const all = new Set(error.errors.map(exitCodeOf))
    return all.size === 1 ? [...all][0]! : 1
  }
  return error instanceof FleetmoveError ? (codes[error.code] ?? 1) : 1
}
