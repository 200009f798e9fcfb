/** A FleetmoveError as it crosses gRPC: a status for machines, and the parts for people. */
import { Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { z } from 'zod'
import { type ErrorCode, FleetmoveError } from './model/error.js'

const key = 'fleetmove-error-bin'
const codes = [
  'usage',
  'unreachable',
  'host-key',
  'preflight',
  'conflict',
  'locked',
  'stale',
  'not-converged',
  'kernel',
  'tunnel',
  'verify',
  'health',
  'rolled-back',
  'gate',
  'ledger',
  'timeout',
  'invalid',
  'internal',
] as const satisfies readonly ErrorCode[]
const parts = z.object({ code: z.enum(codes), message: z.string(), hint: z.string().optional() })

/** What a gRPC handler hands to its callback. Anything but a FleetmoveError is a fault of ours. */
export function errorToStatus(error: unknown): Partial<ServiceError> {
  const known = error instanceof FleetmoveError ? error : internal(error)
  const metadata = new Metadata()
  metadata.set(key, Buffer.from(JSON.stringify({ code: known.code, message: known.message, hint: known.hint })))
  const code = known.code === 'invalid' ? status.INVALID_ARGUMENT : status.FAILED_PRECONDITION
  return { code, details: known.message, metadata }
}

const internal = (error: unknown): FleetmoveError =>
  new FleetmoveError('internal', {
    message: `the agent failed: ${error instanceof Error ? error.message : String(error)}`,
    cause: error,
  })

/** The error that the agent threw, with the host's name; a broken channel becomes 'unreachable', a passed deadline 'timeout'. */
export function errorFromStatus(error: ServiceError, host: string, call: string): FleetmoveError {
  const [value] = error.metadata?.get(key) ?? []
  if (Buffer.isBuffer(value)) {
    const parsed = parts.safeParse(JSON.parse(value.toString('utf8')))
    if (parsed.success) {
      const { code, message, hint } = parsed.data
      return new FleetmoveError(code, { message, host, cause: error, ...(hint === undefined ? {} : { hint }) })
    }
  }
  if (error.code === status.DEADLINE_EXCEEDED) {
    return new FleetmoveError('timeout', {
      message: `the agent didn't answer ${call} in time`,
      hint: 'see with `uptime` whether the host is busy (ConnectTimeout in ~/.ssh/config gives it more time), and run the command again; it goes on where it was',
      host,
      cause: error,
    })
  }
  return new FleetmoveError('unreachable', {
    message: `the agent's connection failed during ${call}: ${error.details || error.message}`,
    hint: 'run the command again; every command picks up where it was',
    host,
    cause: error,
  })
}
