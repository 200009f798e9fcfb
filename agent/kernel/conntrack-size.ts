/** How full the kernel's connection tracking is: nf_conntrack-sysctl.rst of the kernel's documentation. */
import { readFile } from 'node:fs/promises'

/** Entries in the table now; 0 where nothing tracks. */
export const countEntries = (): Promise<number> => readSetting('count')
/** The most that the kernel takes; 0 where nothing tracks. */
export const mostEntries = (): Promise<number> => readSetting('max')

async function readSetting(name: 'count' | 'max'): Promise<number> {
  try {
    return Number(await readFile(`/proc/sys/net/netfilter/nf_conntrack_${name}`, 'utf8'))
  } catch (error) {
    // The module isn't loaded.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
}
