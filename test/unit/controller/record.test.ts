import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Fleet } from '../../../controller/config/fleet.js'
import { allArrivals } from '../../../controller/history.js'
import { recordPath } from '../../../controller/journal.js'
import type { ArrivalRow } from '../../../controller/plan/arrivals-over-time.js'
import { type RecordEntry, Recorder, readRecord, recorded } from '../../../controller/record.js'
import { FleetmoveError } from '../../../proto/model/error.js'
import type { Name } from '../../../proto/model/names.js'

const fleet = { name: 'spring' } as unknown as Fleet
const host = (text: string): Name => text as Name
const told: string[] = []
const progress = {
  begin: () => Object.assign(() => {}, { update: () => {} }),
  note: (_subject: string, text: string) => void told.push(text),
  detail: () => {},
  call: () => () => {},
}
let directory = ''
const before = process.env.XDG_STATE_HOME

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'fleetmove-record-'))
  process.env.XDG_STATE_HOME = directory
  told.length = 0
})
afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
  if (before === undefined) delete process.env.XDG_STATE_HOME
  else process.env.XDG_STATE_HOME = before
})

test('a run is written down with who ran it and how it ended, for nobody else to read', async () => {
  expect(await recorded({ fleet, progress }, 'up', async () => 7)).toBe(7)
  const failing = async (): Promise<void> => {
    throw new AggregateError([new FleetmoveError('preflight', { message: 'no nft' })], 'both hosts')
  }
  await expect(recorded({ fleet, progress }, 'advance web', failing)).rejects.toThrow('both hosts')
  const entries = await readRecord(fleet)
  expect(entries).toMatchObject([
    { type: 'run', command: 'up', operator: expect.stringContaining('@') },
    { type: 'ran', outcome: 'done' },
    { type: 'run', command: 'advance web' },
    { type: 'ran', outcome: 'preflight', message: 'both hosts' },
  ])
  expect(new Set(entries.map((entry) => 'run' in entry && entry.run)).size).toBe(2)
  expect(statSync(recordPath(fleet)).mode & 0o777).toBe(0o600)
})

test('what was torn by a crash is passed over, and nothing is written into its line', async () => {
  const recorder = new Recorder(fleet)
  recorder.add({ type: 'hold', service: host('web'), ms: 500, clients: 3, dropped: 0 })
  await recorder.flush(progress)
  writeFileSync(recordPath(fleet), `${readFileSync(recordPath(fleet), 'utf8')}{"at":"20`)
  const next = new Recorder(fleet)
  next.add({ type: 'drain', service: host('web'), host: host('old'), ms: 5, left: 0 })
  await next.flush(progress)
  expect((await readRecord(fleet)).map((entry) => entry.type)).toEqual(['hold', 'drain'])
})

test('a record that cannot be written is told, and stops nothing', async () => {
  process.env.XDG_STATE_HOME = '/dev/null/nowhere'
  expect(await recorded({ fleet, progress }, 'up', async () => 1)).toBe(1)
  expect(told).toEqual([expect.stringContaining('what report tells will have gaps')])
})

describe('arrivals from several tellings', () => {
  const row = (from: number, to: number, forwarded: number): ArrivalRow => ({
    service: 'web',
    from,
    to,
    forwarded,
    served: 0,
  })
  const kept = (rows: ArrivalRow[]): RecordEntry => ({
    at: '2026-11-21T00:00:00Z',
    type: 'arrivals',
    host: host('old'),
    rows,
  })

  test('what two know is counted once, as the younger one tells it', () => {
    const entries = [kept([row(0, 10, 1), row(10, 20, 2)]), kept([row(10, 20, 2), row(20, 30, 3)])]
    const live = new Map([[host('old'), [row(20, 30, 3), row(30, 40, 4)]]])
    expect(allArrivals(entries, live).get(host('old'))).toEqual([
      row(0, 10, 1),
      row(10, 20, 2),
      row(20, 30, 3),
      row(30, 40, 4),
    ])
  })

  test('an agent that was set up anew knows nothing of before', () => {
    const live = new Map([
      [host('old'), [row(100, 110, 9)]],
      [host('new'), [row(0, 5, 1)]],
    ])
    const all = allArrivals([kept([row(0, 10, 1)])], live)
    expect(all.get(host('old'))).toEqual([row(0, 10, 1), row(100, 110, 9)])
    expect(all.get(host('new'))).toEqual([row(0, 5, 1)])
  })
})
