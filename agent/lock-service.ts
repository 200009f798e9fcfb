/** Lock and Unlock, and the guard before every call that changes something. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Metadata, ServerDuplexStream, ServerUnaryCall, ServerWritableStream, sendUnaryData } from '@grpc/grpc-js'
import { decode } from '../proto/codec.js'
import { errorToStatus } from '../proto/error-wire.js'
import type { AgentServer, LockEvent, LockRequest, UnlockReply, UnlockRequest } from '../proto/gen/fleetmove.js'
import { lockHeader } from '../proto/lock-header.js'
import { type HostLock, leaseMs } from './lock.js'
import { requests } from './requests.js'

/** Everything that changes the host or what runs on it. What only looks, and probes, needs no lock. */
const changing: readonly (keyof AgentServer)[] = [
  'reflect',
  'apply',
  'confirm',
  'revert',
  'leave',
  'lifecycle',
  'gap',
  'settle',
  'reset',
  'purgeUdp',
  'serveData',
  'pullData',
  'recordData',
]

const idOf = (metadata: Metadata): string => String(metadata.get(lockHeader)[0] ?? '')

/**
 * The same service, in which changing calls are refused to whoever doesn't hold the lock. Streams that a run has begun
 * end when another run takes the lock: the connection of a dead one may stand for hours, and keeps a port until then.
 */
export function guarded(service: AgentServer, lock: HostLock): AgentServer {
  const streams = new Map<ServerWritableStream<unknown, unknown>, string>()
  lock.onTaken = (id) => {
    for (const [stream, owner] of streams) if (owner !== id) stream.emit('cancelled', 'another run has the lock')
  }
  const entries = changing.map((name) => {
    // Unary calls come with a callback, streaming ones report by the call itself.
    const handle = service[name] as (call: unknown, done?: unknown) => void
    const guard = (call: ServerUnaryCall<unknown, unknown>, done?: sendUnaryData<unknown>): void => {
      const stream = call as unknown as ServerWritableStream<unknown, unknown>
      try {
        lock.check(idOf(call.metadata))
      } catch (error) {
        if (done) done(errorToStatus(error))
        else stream.emit('error', errorToStatus(error))
        return
      }
      if (!done) {
        streams.set(stream, idOf(call.metadata))
        stream.once('close', () => streams.delete(stream))
      }
      handle(call, done)
    }
    return [name, guard] as const
  })
  return { ...service, ...Object.fromEntries(entries) }
}

const pollMs = 100

export function lockService(lock: HostLock): Pick<AgentServer, 'lock' | 'unlock'> {
  /** The call by which the lock is held. After a restart there is none. */
  let holder: ServerDuplexStream<LockRequest, LockEvent> | undefined

  /** A lock that nobody is connected with ends soon, or its owner comes back. */
  const awaitOwner = async (id: string): Promise<void> => {
    while (!holder && lock.held && lock.held.id !== id) await delay(pollMs)
  }

  return {
    lock: (call) => {
      let id = ''
      let over = false
      const fail = (error: unknown): void => void call.emit('error', errorToStatus(error))
      const hear = async (message: LockRequest): Promise<void> => {
        const request = decode('lock', requests.lock, message)
        if (request.renew) lock.renew(request.id)
        else {
          await awaitOwner(request.id)
          if (over) return
          lock.take(request)
        }
        id = request.id
        holder = call
        call.write({ expiresInMs: leaseMs })
      }
      /** The owner lets go, or has died: its connection is closed with it. */
      const end = (): void => {
        over = true
        if (holder !== call) return
        holder = undefined
        lock.release(id)
      }
      call.on('data', (message: LockRequest) => {
        hear(message).catch(fail)
      })
      call.on('cancelled', end)
      call.on('end', () => {
        end()
        call.end()
      })
    },
    unlock: (call: ServerUnaryCall<UnlockRequest, UnlockReply>, done) => {
      try {
        const { id } = decode('unlock', requests.unlock, call.request)
        const released = lock.release(id)
        if (released) holder = undefined
        done(null, { released, held: lock.held?.id ?? '' })
      } catch (error) {
        done(errorToStatus(error))
      }
    },
  }
}
