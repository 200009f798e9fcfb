import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { cacheDirectory } from './archive-cache.js'

const known = new Map<string, Promise<string>>()

/** Of a smaller one the hash costs less than to look for it. */
const worthKeeping = 16 * 1024 * 1024

/**
 * SHA-256 of a file in hex; read once as long as it stays the same. Node's own binary takes 0.7 s of a processor:
 * of files of such a size it is remembered for later runs, beside the archives.
 */
export const fileHash = async (path: string, cache = cacheDirectory()): Promise<string> => {
  const { size, mtimeMs, ctimeMs, ino } = await stat(path)
  const key = [path, ino, size, mtimeMs, ctimeMs].join('\0')
  const before = known.get(key)
  if (before !== undefined) return before
  const work = size < worthKeeping ? hash(path) : remembered(path, key, join(cache, 'hashes.json'))
  known.set(key, work)
  work.catch(() => known.delete(key))
  return work
}

const hash = async (path: string): Promise<string> => {
  const sum = createHash('sha256')
  await pipeline(createReadStream(path), sum)
  return sum.digest('hex')
}

/** Path → how the file was when it had that hash. */
type Hashes = Record<string, { key: string; sha256: string }>

const remembered = async (path: string, key: string, file: string): Promise<string> => {
  const hashes = await readHashes(file)
  const before = hashes[path]
  if (before?.key === key && /^[0-9a-f]{64}$/.test(before.sha256)) return before.sha256
  const sha256 = await hash(path)
  // Nothing depends on it: a cache that can't be written only costs time.
  await writeHashes(file, { ...hashes, [path]: { key, sha256 } }).catch(() => {})
  return sha256
}

const readHashes = async (file: string): Promise<Hashes> => {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Hashes
  } catch {
    return {}
  }
}

const writeHashes = async (file: string, hashes: Hashes): Promise<void> => {
  await mkdir(join(file, '..'), { recursive: true, mode: 0o700 })
  const temporary = `${file}.${randomBytes(6).toString('hex')}`
  await writeFile(temporary, JSON.stringify(hashes), { mode: 0o600 })
  await rename(temporary, file)
}
