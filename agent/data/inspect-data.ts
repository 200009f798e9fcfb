/** What directories on this host hold, and whether something in them would be lost by a copy over it. */
import { lstat } from 'node:fs/promises'
import { FleetmoveError } from '../../proto/model/error.js'
import type { Name } from '../../proto/model/names.js'
import { changedSince, type Found, heldFiles } from './changes.js'
import { type DataDirectory, targetDirectories } from './directories.js'
import { type DataRecord, readRecords } from './records.js'

export interface Inspected {
  path: string
  /** `absent`, `empty` of files, `unknown`: files that no copy of ours knows of; else as the record says. */
  state: 'absent' | 'empty' | 'unknown' | DataRecord['state']
  origin: DataRecord['origin'] | null
  /** Written since the last copy; for `unknown` what is there. */
  changed: Found
}

const nothing: Found = { names: [], total: 0 }

export async function inspectData(service: Name, paths: readonly string[]): Promise<Inspected[]> {
  return inspectDirectories(service, await targetDirectories(paths))
}

export async function inspectDirectories(service: Name, directories: readonly DataDirectory[]): Promise<Inspected[]> {
  const records = await readRecords(service)
  return Promise.all(directories.map((directory) => inspect(directory, records[directory.path])))
}

async function inspect({ path, real }: DataDirectory, record: DataRecord | undefined): Promise<Inspected> {
  const there = await lstat(real).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
  if (!there) return { path, state: 'absent', origin: record?.origin ?? null, changed: nothing }
  if (!there.isDirectory()) {
    throw new FleetmoveError('preflight', {
      message: `${path} is no directory`,
      hint: 'correct data: in fleet.yaml, or move it out of the way',
    })
  }
  if (record) {
    const changed = record.atUs === null ? nothing : await changedSince(real, record.atUs)
    return { path, state: record.state, origin: record.origin, changed }
  }
  const held = await heldFiles(real)
  return { path, state: held.total === 0 ? 'empty' : 'unknown', origin: null, changed: held }
}

/**
 * Refuses a copy that would lose something.
 * @param bare directories that have no entry on the other host
 * @throws FleetmoveError 'conflict'
 */
export function refuseLoss(inspected: readonly Inspected[], bare: readonly string[]): void {
  for (const { path, state, origin, changed } of inspected) {
    if (state === 'unknown') {
      throw loss(`${path} holds files that fleetmove didn't copy there: ${list(changed)}`)
    }
    if (state !== 'absent' && state !== 'empty' && changed.total > 0) {
      throw loss(`${path} was written to since the last copy: ${list(changed)}`)
    }
    // What came from the other host may go again with it; what went to it once is the original.
    if (bare.includes(path) && origin === 'served' && state !== 'absent') {
      throw loss(
        `${path} has nothing in it on the other host (a file system that isn't mounted?), and here it is whole`,
      )
    }
  }
}

const list = ({ names, total }: Found): string => {
  const shown = names.slice(0, 3)
  return `${shown.join(', ')}${total > shown.length ? ', …' : ''}`
}

const loss = (message: string): FleetmoveError =>
  new FleetmoveError('conflict', {
    message: `${message}; the copy would remove or replace that`,
    hint: 'look at it and save what is needed; then move it away, or run the command again with --overwrite-data',
  })
