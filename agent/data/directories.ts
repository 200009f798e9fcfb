/** Where a service's directories really are on this host, and which ones are never copied. */
import { readdir, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { FleetmoveError } from '../../proto/model/error.js'
import { runOutside } from '../kernel/outside.js'
import { paths } from '../plan/own.js'

export interface DataDirectory {
  /** As fleet.yaml names it; the same on both hosts. */
  path: string
  /** Without symbolic links: what the operator named is followed, nothing inside it is. */
  real: string
}

/** What a host runs on: removing what the other host doesn't have would end it. */
const systemDirectories = ['/', '/etc', '/usr', '/var', '/var/lib']
const systemTrees = [
  '/bin',
  '/boot',
  '/dev',
  '/lib',
  '/lib64',
  '/proc',
  '/run',
  '/sbin',
  '/sys',
  '/usr/bin',
  '/usr/lib',
  '/usr/sbin',
]
const ownTrees = [paths.state, paths.lib]

/** Whether `path` is `tree` or lies in it. */
const isIn = (path: string, tree: string): boolean => path === tree || path.startsWith(`${tree}/`)

/**
 * Why a set of real paths can't be copied, or null.
 * @param directories absolute, without symbolic links
 */
export function whyNotCopied(directories: readonly DataDirectory[]): string | null {
  for (const { path, real } of directories) {
    const shown = path === real ? path : `${path} (${real})`
    if (systemDirectories.includes(real) || systemTrees.some((tree) => isIn(real, tree)))
      return `${shown} belongs to the system itself`
    if (ownTrees.some((tree) => isIn(real, tree) || isIn(tree, real))) return `${shown} holds fleetmove's own files`
  }
  for (const one of directories) {
    const other = directories.find((each) => each !== one && isIn(one.real, each.real))
    if (other) return `${one.path} lies in ${other.path}`
  }
  return null
}

/**
 * For reading: every directory must be there.
 * @throws FleetmoveError 'preflight'
 */
export async function sourceDirectories(directories: readonly string[]): Promise<DataDirectory[]> {
  const found = await Promise.all(
    directories.map(async (path) => {
      const isDirectory = await stat(path).then(
        (stats) => stats.isDirectory(),
        () => null,
      )
      if (isDirectory) return { path, real: await realpath(path) }
      throw new FleetmoveError('preflight', {
        message: isDirectory === null ? `${path} isn't there` : `${path} is no directory`,
        hint: 'correct data: in fleet.yaml, or mount what belongs there',
      })
    }),
  )
  return allowed(found)
}

/** For writing, or for looking only: one that isn't there yet is where it would be made. */
export async function targetDirectories(directories: readonly string[]): Promise<DataDirectory[]> {
  return allowed(await Promise.all(directories.map(async (path) => ({ path, real: await whereItWouldBe(path) }))))
}

/** Nobody but root until the copy has brought its owner and mode; parents as everywhere. */
export async function makeDirectory({ path, real }: DataDirectory): Promise<void> {
  try {
    // What is there already needs no right to write.
    if ((await stat(real).catch(() => null))?.isDirectory()) return
    await runOutside('mkdir', ['-p', '-m', '755', '--', dirname(real)])
    await runOutside('mkdir', ['-m', '700', '--', real])
  } catch (cause) {
    throw new FleetmoveError('conflict', { message: `can't make ${path}: ${(cause as Error).message}`, cause })
  }
}

/** Whether it has no entry at all, as a file system's mount point before it is mounted. */
export const isBare = async ({ real }: DataDirectory): Promise<boolean> => (await readdir(real)).length === 0

async function whereItWouldBe(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || path === '/') throw error
    return join(await whereItWouldBe(dirname(path)), basename(path))
  }
}

function allowed(directories: DataDirectory[]): DataDirectory[] {
  const reason = whyNotCopied(directories)
  if (reason === null) return directories
  throw new FleetmoveError('preflight', {
    message: `${reason} and is not copied`,
    hint: "name the service's own directories under data: in fleet.yaml, none inside another",
  })
}
