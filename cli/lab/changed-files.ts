import { createHash } from 'node:crypto'
import type { Stats } from 'node:fs'
import { lstat, readdir, readFile, readlink, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** A path of a host's file system that isn't as the lab prepared it. */
export interface ChangedFile {
  path: string
  change: 'added' | 'changed' | 'removed'
  /** Bytes now; 0 for what is removed and for directories. */
  size: number
}

/** What is written about one path: everything but times. */
interface Entry {
  /** `gone` is overlayfs's whiteout: the lower file system has it, the host doesn't. */
  kind: 'file' | 'dir' | 'link' | 'gone' | 'other'
  mode: number
  uid: number
  gid: number
  size: number
  /** A file's SHA-256, a link's target. */
  content?: string
}

/** Every path that a host has of its own. */
export type FileScan = Record<string, Entry>

/** Where a host's own files lie, as seen from outside of its namespaces. */
export interface HostTrees {
  /** The writable layer of the overlay. */
  upper: string
  /** The root of the lower file system. */
  lower: string
  /** The host's root: /run and /tmp there are file systems of its own. */
  root: string
}

/** The lab's own directory in a host (sshd's log) and daemon, and what sudo and sshd write about each login, mail of a wrong password too. */
const leftOut = [
  '/run/lab',
  '/run/sshd.pid',
  '/run/sudo',
  '/var/lib/sudo',
  '/var/log/lastlog',
  '/var/log/wtmp',
  '/var/log/btmp',
  '/run/utmp',
  '/var/spool/postfix/maildrop',
]

/** Lists what a host's file system holds of its own, over the machine's. */
export async function scanHost(trees: HostTrees): Promise<FileScan> {
  const scan: FileScan = {}
  await walk(trees.upper, '', scan)
  for (const own of ['/run', '/tmp']) {
    const directory = join(trees.root, own)
    // What is mounted in there, as this repository is where it lies below /tmp, is the machine's: many files, all the same.
    const { dev } = await stat(directory)
    await walk(directory, own, scan, dev)
  }
  for (const path of Object.keys(scan))
    if (leftOut.some((dir) => path === dir || path.startsWith(`${dir}/`))) delete scan[path]
  return scan
}

/** What differs between two scans of a host, sorted by path. What was only touched doesn't count. */
export async function compareScans(before: FileScan, now: FileScan, trees: HostTrees): Promise<ChangedFile[]> {
  const changes: ChangedFile[] = []
  for (const [path, entry] of Object.entries(now)) {
    // A path that the overlay didn't hold before looked like the lower file system's.
    const earlier = before[path] ?? (await lowerEntry(trees, path))
    const existed = earlier !== undefined && earlier.kind !== 'gone'
    if (entry.kind === 'gone') {
      if (existed) changes.push({ path, change: 'removed', size: 0 })
    } else if (!existed) changes.push({ path, change: 'added', size: entry.size })
    else if (!same(earlier, entry)) changes.push({ path, change: 'changed', size: entry.size })
  }
  for (const [path, entry] of Object.entries(before))
    if (!now[path] && entry.kind !== 'gone') changes.push({ path, change: 'removed', size: 0 })
  return changes.sort((a, b) => (a.path < b.path ? -1 : 1))
}

async function lowerEntry(trees: HostTrees, path: string): Promise<Entry | undefined> {
  // /run and /tmp cover whatever the machine has there.
  if (path.startsWith('/run/') || path.startsWith('/tmp/')) return undefined
  const file = join(trees.lower, path)
  try {
    return await describe(file, await lstat(file))
  } catch {
    return undefined
  }
}

/** @param device the only file system that is walked */
async function walk(dir: string, as: string, scan: FileScan, device?: number): Promise<void> {
  for (const name of await readdir(dir).catch(() => [])) {
    const file = join(dir, name)
    const path = `${as}/${name}`
    try {
      const found = await lstat(file)
      if (device !== undefined && found.dev !== device) continue
      const entry = await describe(file, found)
      scan[path] = entry
      if (entry.kind === 'dir') await walk(file, path, scan, device)
    } catch (error) {
      // It went away while we looked.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
}

async function describe(file: string, stat: Stats): Promise<Entry> {
  const entry = { mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid, size: 0 }
  if (stat.isDirectory()) return { ...entry, kind: 'dir' }
  if (stat.isSymbolicLink()) return { ...entry, kind: 'link', content: await readlink(file) }
  if (stat.isFile()) {
    const content = createHash('sha256')
      .update(await readFile(file))
      .digest('hex')
    return { ...entry, kind: 'file', size: stat.size, content }
  }
  // overlayfs.rst: a whiteout is a character device with number 0/0.
  return { ...entry, kind: stat.isCharacterDevice() && stat.rdev === 0 ? 'gone' : 'other' }
}

function same(a: Entry, b: Entry): boolean {
  return a.kind === b.kind && a.mode === b.mode && a.uid === b.uid && a.gid === b.gid && a.content === b.content
}
