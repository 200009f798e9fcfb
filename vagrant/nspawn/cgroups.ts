/** A cgroup for each host, in every hierarchy that systemd uses on this machine; see cgroups(7). */
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readdir, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** Where cgroup2 is mounted: at /sys/fs/cgroup, or beside the older hierarchies. Undefined where it isn't. */
export function unifiedHierarchy(): string | undefined {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .find(([, , type]) => type === 'cgroup2')?.[1]
}

/** The network's directories, one a hierarchy: the unified one, and systemd's own of older times. */
export function cgroupDirectories(network: string): string[] {
  const unified = unifiedHierarchy()
  const hierarchies = [unified, '/sys/fs/cgroup/systemd'].filter((path) => path !== undefined && existsSync(path))
  return hierarchies.map((path) => join(String(path), `fleetmove-${network}`))
}

export async function makeCgroups(network: string, hosts: readonly string[]): Promise<void> {
  for (const directory of cgroupDirectories(network))
    for (const host of hosts) await mkdir(join(directory, host), { recursive: true })
}

/** The machine's pid of a host's systemd; undefined while it has none. */
export function systemdOf(network: string, host: string): number | undefined {
  const file = join(String(unifiedHierarchy()), `fleetmove-${network}`, host, 'payload', 'init.scope', 'cgroup.procs')
  try {
    return Number(readFileSync(file, 'utf8').split('\n')[0]) || undefined
  } catch {
    return undefined
  }
}

/** Their processes must be on their way out: a cgroup can't be removed before the last one is reaped. */
export async function removeCgroups(network: string): Promise<void> {
  for (const directory of cgroupDirectories(network)) {
    const end = Date.now() + 10_000
    while (!(await removed(directory)) && Date.now() < end) await delay(50)
  }
}

async function removed(directory: string): Promise<boolean> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => [])
  for (const entry of entries) if (entry.isDirectory()) await removed(join(directory, entry.name))
  return rmdir(directory).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
  )
}
