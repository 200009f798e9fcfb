/** Kernel parameters as files under /proc/sys (sysctl(8), proc(5)). */
import { readFile, writeFile } from 'node:fs/promises'
import { FleetmoveError } from '../../proto/model/error.js'
import type { Performers } from './step.js'

/**
 * The file of a key. In `net.ipv4.conf.<device>.<leaf>` (and ipv6, and neigh) the device's name may hold
 * dots of its own, e.g. eth0.200: it is all that stands between, and stays one directory.
 * @throws FleetmoveError 'internal' for a key that would lead out of /proc/sys
 */
export function sysctlPath(key: string): string {
  const perDevice = /^net\.(ipv4|ipv6)\.(conf|neigh)\.(.+)\.([^.]+)$/.exec(key)
  const parts = perDevice ? ['net', perDevice[1]!, perDevice[2]!, perDevice[3]!, perDevice[4]!] : key.split('.')
  if (parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('/'))) {
    throw new FleetmoveError('internal', { message: `"${key}" is not the name of a kernel parameter` })
  }
  return `/proc/sys/${parts.join('/')}`
}

const codeOf = (error: unknown): unknown => (error as NodeJS.ErrnoException).code

/** The values of those keys that exist, tabs and line ends trimmed as sysctl(8) shows them. */
export async function readSysctls(keys: readonly string[]): Promise<Record<string, string>> {
  const values: Record<string, string> = {}
  await Promise.all(
    keys.map(async (key) => {
      try {
        values[key] = (await readFile(sysctlPath(key), 'utf8')).trim()
      } catch (error) {
        // EINVAL: the device went while its parameters were read.
        if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'EINVAL') throw error
      }
    }),
  )
  return values
}

export const sysctlPerformers: Pick<Performers, 'set-sysctl'> = {
  'set-sysctl': async ({ key, value }) => {
    try {
      // Without O_CREAT: under /proc/sys it would turn a key that is gone into "permission denied".
      await writeFile(sysctlPath(key), value, { flag: 'r+' })
    } catch (error) {
      if (codeOf(error) === 'ENOENT') {
        throw new FleetmoveError('kernel', {
          message: `there is no parameter ${key}: its device or module is gone`,
          cause: error,
        })
      }
      if (codeOf(error) === 'EROFS' || codeOf(error) === 'EACCES') {
        throw new FleetmoveError('kernel', {
          message: `${key} can't be written: /proc/sys is read-only here`,
          hint: 'let the container write its network parameters (systemd-nspawn: SYSTEMD_NSPAWN_API_VFS_WRITABLE=network)',
          cause: error,
        })
      }
      throw error
    }
  },
}
