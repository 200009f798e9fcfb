/**
 * What this host knows of copies, one file a service: until which moment a directory holds nothing that
 * the other host lacks. What was written later would be lost by copying over it.
 */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { FleetmoveError } from '../../proto/model/error.js'
import type { Name } from '../../proto/model/names.js'
import { paths } from '../plan/own.js'

export interface DataRecord {
  /**
   * - `partial`: a copy to here was begun and has not ended
   * - `whole`: a copy to here has ended, while the service ran
   * - `verified`: both hosts were found to hold the same, with the service stopped
   */
  state: 'partial' | 'whole' | 'verified'
  /** Whether what is here came from the other host, or is what the other host got. */
  origin: 'pulled' | 'served'
  /**
   * Microseconds since 1970, by this host's file timestamps: what has a later ctime was written since.
   * Null while a copy runs, and after one that ended with the agent.
   */
  atUs: number | null
  /**
   * By the other host's clock: files with this mtime or a later one were perhaps written to after they
   * had been read, without a sign of it. Null where nothing was copied to here while the service ran.
   */
  doubtfulUs: number | null
}

/** By path, as fleet.yaml names it. */
export type DataRecords = Readonly<Record<string, DataRecord>>

const format = z.record(
  z.string(),
  z.object({
    state: z.enum(['partial', 'whole', 'verified']),
    origin: z.enum(['pulled', 'served']),
    atUs: z.int().min(0).nullable(),
    doubtfulUs: z.int().min(0).nullable(),
  }),
)

const directory = join(paths.state, 'data')
const fileOf = (service: Name): string => join(directory, `${service}.json`)

/** @throws FleetmoveError 'ledger' when the file is torn or foreign. */
export async function readRecords(service: Name): Promise<DataRecords> {
  const path = fileOf(service)
  try {
    return format.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw new FleetmoveError('ledger', {
      message: `${path} can't be read: ${(cause as Error).message}`,
      hint: 'move it away: the directories then count as not copied by fleetmove',
      cause,
    })
  }
}

/** Sets the records of some directories; on disk before it returns. */
export async function writeRecords(service: Name, changed: DataRecords): Promise<void> {
  const path = fileOf(service)
  const all = { ...(await readRecords(service)), ...changed }
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const file = await open(`${path}.new`, 'w', 0o600)
  try {
    await file.writeFile(JSON.stringify(all))
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(`${path}.new`, path)
}

/**
 * The present by the clock that stamps files (time(7): it lags behind the one of clock_gettime by up to a
 * tick), rounded up: whatever is done before the call has no later ctime.
 */
export async function fileClockUs(): Promise<number> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const path = join(directory, 'clock')
  await rm(path, { force: true })
  const file = await open(path, 'w', 0o600)
  try {
    return Number((await file.stat({ bigint: true })).ctimeNs / 1000n) + 1
  } finally {
    await file.close()
    await rm(path, { force: true })
  }
}
