import { type ErrorParts, FleetmoveError } from '../../proto/model/error.js'

/** The host is there, and its agent doesn't take a connection or a call: it ends, or has just ended. */
export class AgentGone extends FleetmoveError {
  constructor(parts: ErrorParts) {
    super('unreachable', parts)
  }
}

/** Whether that is all that failed. */
export const isAgentGone = (error: unknown): boolean =>
  error instanceof AggregateError ? error.errors.every(isAgentGone) : error instanceof AgentGone
