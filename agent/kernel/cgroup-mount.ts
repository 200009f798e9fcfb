import { readFile } from 'node:fs/promises'
import { FleetmoveError } from '../../proto/model/error.js'

/** Where nft looks for cgroups, whatever is mounted there (nft(8), "SOCKET EXPRESSION"). */
const base = '/sys/fs/cgroup'

export interface CgroupMount {
  path: string
  /** What nft wants before a cgroup's path: '' or e.g. `unified/` where version 1 has the place itself. */
  prefix: string
}

/** Where cgroups of version 2 are mounted. @throws FleetmoveError 'kernel' where they aren't */
export async function cgroupMount(): Promise<CgroupMount> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' '))
  const found = mounts.find(
    ([, path = '', type]) => type === 'cgroup2' && (path === base || path.startsWith(`${base}/`)),
  )
  if (found) return { path: found[1]!, prefix: found[1] === base ? '' : `${found[1]!.slice(base.length + 1)}/` }
  throw new FleetmoveError('kernel', {
    message: `cgroups of version 2 are not mounted below ${base}: units and containers can't be told apart by them`,
    hint: 'choose by egress_from: { uid: … } or { source: … }',
  })
}
