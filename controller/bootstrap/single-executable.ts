/**
 * What has to be a file of its own, taken out of the single executable (.build/package.mjs): the agent for hosts,
 * and the Node binary that runs it. Both go into the user's cache, where they are found the next time.
 */
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { getAsset, isSea } from 'node:sea'
import { cacheDirectory } from './archive-cache.js'
import { fileHash } from './file-hash.js'

/** What .build/package.mjs puts in. */
const agentAssets = ['agent.cjs', 'netlink-x64.node', 'netlink-arm64.node'] as const

/** Whether this process is fleetmove's single executable. */
export const isSingleExecutable = (): boolean => isSea()

/** A directory with the agent's files, as the build leaves them in dist/agent. */
export const unpackAgent = (): string => {
  const files = agentAssets.map((name) => ({ name, bytes: Buffer.from(getAsset(name)) }))
  const hash = createHash('sha256')
  for (const { name, bytes } of files) hash.update(`${name}\0${bytes.length}\0`).update(bytes)
  const directory = join(cacheDirectory(), `unpacked-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(directory)) return directory
  const temporary = `${directory}.${randomBytes(6).toString('hex')}`
  mkdirSync(temporary, { recursive: true, mode: 0o700 })
  for (const { name, bytes } of files) writeFileSync(join(temporary, name), bytes, { flush: true })
  try {
    renameSync(temporary, directory)
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true })
    // Another run was quicker.
    if (!existsSync(directory)) throw error
  }
  return directory
}

/**
 * The Node binary inside a single executable: its fuse blown back and fleetmove's part overwritten with zeros,
 * whose length package.mjs keeps the same. So every release with the same Node gives the same file, and hosts that have it
 * are sent an agent of one megabyte only.
 *
 * @returns the path of the binary; undefined where `executable` is none of ours.
 */
export const unpackNode = async (executable: string): Promise<string | undefined> => {
  const path = join(cacheDirectory(), `node-${(await fileHash(executable)).slice(0, 16)}`)
  if (existsSync(path)) return path
  const bytes = await readFile(executable)
  if (!toPlainNode(bytes)) return undefined
  await mkdir(cacheDirectory(), { recursive: true, mode: 0o700 })
  const temporary = `${path}.${randomBytes(6).toString('hex')}`
  try {
    await writeFile(temporary, bytes, { flag: 'wx', mode: 0o700, flush: true })
    await chmod(temporary, 0o755)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  return path
}

/** Node's mark of a single executable; the digit behind it says whether it is one (nodejs.org/api/single-executable-applications). */
const fuse = Buffer.from(['NODE_SEA', 'FUSE_fce680ab2cc467b6e072b8b5df1996b2:'].join('_'), 'latin1')

/** Changes `executable` in place; false where it has no fuse that is set, or no blob. */
export function toPlainNode(executable: Buffer): boolean {
  const blob = findBlob(executable)
  const at = executable.indexOf(fuse)
  const digit = at + fuse.length
  if (blob === undefined || at === -1 || executable[digit] !== 0x31) return false
  executable[digit] = 0x30
  blob.fill(0)
  return true
}

const noteSegment = 4
const noteHeaderBytes = 12

/** postject puts the blob into an ELF note of this name, in a PT_NOTE segment of its own (elf(5), 64 bits, little-endian). */
function findBlob(elf: Buffer): Buffer | undefined {
  if (elf.length < 64 || elf.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') return undefined
  const [table, size, count] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)]
  for (let i = 0; i < count; i++) {
    const header = table + i * size
    if (elf.readUInt32LE(header) !== noteSegment) continue
    const start = Number(elf.readBigUInt64LE(header + 8))
    const end = start + Number(elf.readBigUInt64LE(header + 32))
    for (let note = start; note + noteHeaderBytes <= end; ) {
      const [nameBytes, bytes] = [elf.readUInt32LE(note), elf.readUInt32LE(note + 4)]
      const name = elf.toString('latin1', note + noteHeaderBytes, note + noteHeaderBytes + nameBytes)
      const content = note + noteHeaderBytes + padded(nameBytes)
      if (name.startsWith('NODE_SEA_BLOB')) return elf.subarray(content, content + bytes)
      note = content + padded(bytes)
    }
  }
  return undefined
}

const padded = (bytes: number): number => Math.ceil(bytes / 4) * 4
