import type { ServiceError } from '@grpc/grpc-js'
import type { AgentClient, LockRequest } from '../../proto/gen/fleetmove.js'
import type { HostLease } from './agent.js'

const releaseMs = 2000

/** Resolves when the host has granted the lock; the call stands as long as it is held. */
export function holdLock(
  client: AgentClient,
  request: LockRequest,
  fail: (error: ServiceError) => Error,
): Promise<HostLease> {
  return new Promise((resolve, reject) => {
    const stream = client.lock()
    let over = (): void => {}
    const ended = new Promise<void>((settle) => {
      over = settle
    })
    const release = async (): Promise<void> => {
      stream.end()
      await Promise.race([ended, new Promise((settle) => setTimeout(settle, releaseMs).unref())])
      stream.cancel()
    }
    const renew = (): void => void stream.write({ ...request, renew: true })
    stream.once('data', () => resolve({ renew, release, lost: ended }))
    // Later events only say that it was renewed; unread, they would stop the stream.
    stream.on('data', () => {})
    stream.on('error', (error) => {
      over()
      reject(fail(error as ServiceError))
    })
    stream.on('end', over)
    stream.write(request)
  })
}
