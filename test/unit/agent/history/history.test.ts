import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { History } from '../../../../agent/history/history.js'

let directory = ''
let path = ''
let now = 0
let counters: Record<string, { forwarded: number; served: number }> = {}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'fleetmove-history-'))
  path = join(directory, 'arrivals.jsonl')
  now = 1_800_000_000_000
  counters = {}
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const open = (most?: number): Promise<History> =>
  History.open({
    path,
    read: async () => new Map(Object.entries(counters)),
    clock: () => now,
    ...(most === undefined ? {} : { most }),
  })

const counted = (history: History): number[][] => history.rows.map(({ forwarded, served }) => [forwarded, served])

test('what is new since the last look is written down, and only that', async () => {
  const history = await open()
  counters = { web: { forwarded: 3, served: 1 }, mail: { forwarded: 0, served: 0 } }
  now += 10_000
  await history.sample()
  now += 10_000
  await history.sample()
  counters = { web: { forwarded: 5, served: 1 }, mail: { forwarded: 0, served: 0 } }
  now += 10_000
  await history.sample()
  expect(history.rows).toEqual([
    expect.objectContaining({ service: 'web', from: now - 30_000, to: now - 20_000, forwarded: 3, served: 1 }),
    expect.objectContaining({ service: 'web', from: now - 10_000, to: now, forwarded: 2, served: 0 }),
  ])
  expect(readFileSync(path, 'utf8').trim().split('\n')).toHaveLength(2)
})

test('an agent that starts again goes on from what it had written, and counts what it missed', async () => {
  const first = await open()
  counters = { web: { forwarded: 10, served: 0 } }
  now += 10_000
  await first.sample()
  counters = { web: { forwarded: 17, served: 4 } }
  now += 60_000
  const second = await open()
  await second.sample()
  expect(counted(second)).toEqual([
    [10, 0],
    [7, 4],
  ])
  expect(second.rows[1]).toMatchObject({ from: now - 60_000, to: now })
})

test('counters that begin anew (a reboot) are new connections', async () => {
  const history = await open()
  counters = { web: { forwarded: 10, served: 5 } }
  await history.sample()
  counters = { web: { forwarded: 2, served: 0 } }
  now += 10_000
  await history.sample()
  expect(counted(history)).toEqual([
    [10, 5],
    [2, 0],
  ])
})

test('a torn line and foreign text are passed over', async () => {
  const history = await open()
  counters = { web: { forwarded: 1, served: 0 } }
  await history.sample()
  appendFileSync(path, '{"no":1}\n[1,2,3,4,5,6,7]\n["web",1,2,3,4,5]\n["web",18000')
  expect(counted(await open())).toEqual([[1, 0]])
})

test('the file stays small', async () => {
  const history = await open(100)
  for (let i = 1; i <= 1000; i++) {
    counters = { web: { forwarded: i, served: 0 } }
    now += 10_000
    await history.sample()
  }
  expect(history.rows.length).toBeLessThanOrEqual(100)
  expect(history.rows.reduce((sum, row) => sum + row.forwarded, 0)).toBe(1000)
  expect(statSync(path).size).toBeLessThan(10_000)
  expect(counted(await open(100))).toEqual(counted(history))
})

test('recent: with what came since the last look', async () => {
  const history = await open()
  counters = { web: { forwarded: 100, served: 0 } }
  now += 10_000
  await history.sample()
  now += 120_000
  counters = { web: { forwarded: 104, served: 0 } }
  await history.sample()
  now += 5000
  counters = { web: { forwarded: 106, served: 3 } }
  const { ms, counts } = history.recent(new Map(Object.entries(counters)), 60_000)
  expect(ms).toBe(60_000)
  expect(counts.get('web')).toEqual({ forwarded: 6, served: 3 })
})

test('recent: of a history that has just begun', async () => {
  const history = await open()
  now += 4000
  counters = { web: { forwarded: 8, served: 0 } }
  expect(history.recent(new Map(Object.entries(counters)), 60_000)).toEqual({
    ms: 4000,
    counts: new Map([['web', { forwarded: 8, served: 0 }]]),
  })
})

test('a file that could not be written for a while is whole afterwards', async () => {
  const told: string[] = []
  const broken = join(directory, 'gone', 'arrivals.jsonl')
  const read = async () => new Map(Object.entries(counters))
  const history = await History.open({ path: broken, read, clock: () => now, log: (message) => told.push(message) })
  counters = { web: { forwarded: 1, served: 0 } }
  await history.sample()
  counters = { web: { forwarded: 2, served: 0 } }
  now += 10_000
  await history.sample()
  expect(told).toHaveLength(1)
  mkdirSync(join(directory, 'gone'))
  counters = { web: { forwarded: 3, served: 0 } }
  now += 10_000
  await history.sample()
  expect(readFileSync(broken, 'utf8').trim().split('\n')).toHaveLength(3)
})
