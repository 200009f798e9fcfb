/**
 * The one error that users meet: what failed, where, why, and what to do next. It is printed in one
 * place (cli/render/error.ts); everywhere else it is thrown and passed on.
 */
export type ErrorCode =
  | 'usage' // bad command line or fleet.yaml: exit 64
  | 'unreachable' // a host can't be reached or doesn't let us in
  | 'host-key' // a host's key is unknown or has changed
  | 'preflight' // a host lacks something that the move needs
  | 'conflict' // something on the host is in our way
  | 'locked' // somebody else moves this fleet: exit 4
  | 'stale' // the agent holds a newer generation, or the same one with other content
  | 'not-converged' // applied, but the second plan isn't empty
  | 'kernel' // the kernel refused a step
  | 'tunnel' // the tunnel doesn't carry traffic
  | 'verify' // a probe failed: exit 5
  | 'health' // a health check or lifecycle command failed
  | 'rolled-back' // undone: exit 3
  | 'gate' // waiting for stragglers or approval: exit 6
  | 'ledger' // what is on disk is torn or not ours
  | 'timeout'
  | 'invalid' // a message that is malformed or hostile
  | 'internal' // a fault of fleetmove itself

export interface ErrorParts {
  /** One sentence: what failed and why, with the values that matter. No full stop. */
  message: string
  /** What to do next: a command or a change, in the imperative. */
  hint?: string
  /** The host's name in fleet.yaml, where the failure belongs to one. */
  host?: string
  cause?: unknown
}

export class FleetmoveError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly host: string | undefined
  constructor(code: ErrorCode, parts: ErrorParts) {
    super(parts.message, parts.cause === undefined ? undefined : { cause: parts.cause })
    this.name = 'FleetmoveError'
    this.code = code
    this.hint = parts.hint
    this.host = parts.host
  }
}
