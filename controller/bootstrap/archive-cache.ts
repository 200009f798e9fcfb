/**
 * Compressed payloads, kept in ~/.cache/fleetmove: packing the runtime takes seconds, and every host
 * of a fleet gets the same one.
 */
import { randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { access, mkdir, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { constants, createGzip } from 'node:zlib'
import type { Payload } from './payload.js'
import { tar } from './tar.js'

const packing = new Map<string, Promise<string>>()

/** The user's cache directory by the XDG Base Directory Specification. */
export const cacheDirectory = (): string => join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fleetmove')

/** Path of the payload's tar.gz; packed first where it isn't there, once for all who ask meanwhile. */
export const archiveOf = (payload: Payload, directory = cacheDirectory()): Promise<string> => {
  const path = join(directory, `${payload.kind}-${payload.hash}.tar.gz`)
  const under = packing.get(path)
  if (under !== undefined) return under
  const work = access(path).then(
    () => path,
    () => pack(payload, directory, path),
  )
  packing.set(path, work)
  const done = (): void => {
    packing.delete(path)
  }
  work.then(done, done)
  return work
}

/** For an archive that has turned out to be broken. */
export const forgetArchive = (path: string): Promise<void> => rm(path, { force: true })

const pack = async (payload: Payload, directory: string, path: string): Promise<string> => {
  const entries = payload.files.map(({ name, source }) => ({
    name,
    source,
    // The addon and the script are read, only the binary is run.
    mode: payload.kind === 'runtime' ? 0o755 : 0o644,
  }))
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const temporary = `${path}.${randomBytes(6).toString('hex')}`
  try {
    await pipeline(
      tar(entries),
      // The fastest level: the default saves a tenth more and takes four times as long.
      createGzip({ level: constants.Z_BEST_SPEED }),
      createWriteStream(temporary, { flags: 'wx', mode: 0o600, flush: true }),
    )
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  return path
}
