import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HostLock, leaseMs } from '../../../agent/lock.js'
import { FleetmoveError } from '../../../proto/model/error.js'

const alice = { id: 'aaaaaaaaaaaa', owner: 'alice@laptop', command: 'advance web' }
const bob = { id: 'bbbbbbbbbbbb', owner: 'bob@desk', command: 'down' }

const refusal = (work: () => unknown): FleetmoveError => {
  try {
    work()
  } catch (error) {
    expect(error).toBeInstanceOf(FleetmoveError)
    expect((error as FleetmoveError).code).toBe('locked')
    return error as FleetmoveError
  }
  throw new Error('it was not refused')
}

let directory: string
let path: string
let lock: HostLock

beforeEach(() => {
  jest.useFakeTimers({ now: Date.parse('2026-01-02T03:04:05Z') })
  directory = mkdtempSync(join(tmpdir(), 'lock-'))
  path = join(directory, 'lock.json')
  lock = new HostLock(path)
})
afterEach(() => {
  jest.useRealTimers()
  rmSync(directory, { recursive: true })
})

it('lets everybody work while nobody holds it', () => {
  expect(() => lock.check('')).not.toThrow()
})

it('names its holder to everybody else', () => {
  lock.take(alice)
  expect(() => lock.check(alice.id)).not.toThrow()
  const error = refusal(() => lock.take(bob))
  expect(error.message).toBe(
    'somebody else is at work: alice@laptop runs "fleetmove advance web" since 2026-01-02T03:04:05Z, and its lock aaaaaaaaaaaa lasts 30 s more unless it is renewed',
  )
  expect(error.hint).toContain('fleetmove unlock aaaaaaaaaaaa')
  refusal(() => lock.check(''))
  expect(refusal(() => lock.check(bob.id)).message).toContain('alice@laptop runs')
})

it('ends by itself unless it is renewed, whatever the clock does', () => {
  lock.take(alice)
  jest.advanceTimersByTime(leaseMs - 1)
  jest.setSystemTime(0)
  lock.renew(alice.id)
  jest.advanceTimersByTime(leaseMs - 1)
  refusal(() => lock.take(bob))
  jest.advanceTimersByTime(1)
  expect(lock.held).toBeNull()
  lock.take(bob)
})

it('refuses for ever what bears the id of a lock that has ended', () => {
  lock.take(alice)
  jest.advanceTimersByTime(leaseMs)
  // Nobody else has taken it.
  refusal(() => lock.check(alice.id))
  refusal(() => lock.renew(alice.id))
  lock.take(bob)
  refusal(() => lock.check(alice.id))
  expect(lock.release(alice.id)).toBe(false)
  expect(lock.release(bob.id)).toBe(true)
  refusal(() => lock.check(alice.id))
  expect(existsSync(path)).toBe(false)
})

it('outlives the agent for as long as its owner may need to come back', () => {
  lock.take(alice)
  expect(statSync(path).mode & 0o777).toBe(0o600)
  const next = new HostLock(path)
  expect(next.held).toMatchObject(alice)
  refusal(() => next.take(bob))
  next.renew(alice.id)
  jest.advanceTimersByTime(6000)
  refusal(() => next.take(bob))
  const another = new HostLock(path)
  jest.advanceTimersByTime(6000)
  another.take(bob)
})

it('has ended when the agent was away for longer', () => {
  lock.take(alice)
  jest.advanceTimersByTime(leaseMs)
  expect(new HostLock(path).held).toBeNull()
})

it('is nobody’s where its file is torn', () => {
  writeFileSync(path, '{"id":"aaaa')
  expect(new HostLock(path).held).toBeNull()
})
