import { EventEmitter } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Metadata, type UntypedHandleCall } from '@grpc/grpc-js'
import { HostLock } from '../../../agent/lock.js'
import { guarded } from '../../../agent/lock-service.js'
import type { AgentServer } from '../../../proto/gen/fleetmove.js'
import { lockHeader } from '../../../proto/lock-header.js'

const directory = mkdtempSync(join(tmpdir(), 'fleetmove-test-'))
const lock = new HostLock(join(directory, 'lock.json'))
afterAll(() => rmSync(directory, { recursive: true }))

const owner = (id: string) => ({ id, owner: 'alice@laptop', command: 'up' })
const service = guarded({ serveData: () => {} } as unknown as AgentServer, lock)

/** A stream that a run with this lock has begun; `ended` is what the handler hears of its end. */
function stream(id: string): { call: EventEmitter; ended: string[] } {
  const metadata = new Metadata()
  metadata.set(lockHeader, id)
  const call = Object.assign(new EventEmitter(), { metadata })
  const ended: string[] = []
  call.on('cancelled', () => ended.push('cancelled'))
  call.on('error', () => ended.push('refused'))
  ;(service.serveData as unknown as (call: EventEmitter) => UntypedHandleCall)(call)
  return { call, ended }
}

test('another run that takes the lock ends the streams of the one before, and no others', () => {
  lock.take(owner('aaaaaaaaaaaa'))
  const [lost, over] = [stream('aaaaaaaaaaaa'), stream('aaaaaaaaaaaa')]
  over.call.emit('close')
  // Its owner comes back by another connection.
  lock.take(owner('aaaaaaaaaaaa'))
  expect(lost.ended).toEqual([])
  lock.release('aaaaaaaaaaaa')
  lock.take(owner('bbbbbbbbbbbb'))
  const own = stream('bbbbbbbbbbbb')
  expect([lost.ended, over.ended, own.ended]).toEqual([['cancelled'], [], []])
  expect(stream('aaaaaaaaaaaa').ended).toEqual(['refused'])
})
