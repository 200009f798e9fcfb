/** Hosts as they were found: what a host looks like, and what differs later. */
import type { Lab } from '../../cli/lab/lab.js'

export interface Snapshot {
  [host: string]: { state: string[]; files: string[] }
}

/** Hosts on which fleetmove works, the vantages too. */
const touched = ['old1', 'new1', 'client1', 'client2']

/**
 * What the service itself writes when it is started and stopped, which is the operator's doing: nginx's
 * pid, logs and directories. The name of its processes is in `hostState` too.
 */
const ofTheService = /^\/run\/nginx\.pid$|^\/var\/log\/nginx\/|^\/var\/lib\/nginx\//

export async function takeSnapshot(lab: Lab, hosts: readonly string[] = touched): Promise<Snapshot> {
  const taken = await Promise.all(
    hosts.map(async (host) => {
      const state = (await lab.hostState(host)).split('\n').filter((line) => line !== 'nginx')
      const changed = await lab.changedFiles(host)
      const files = changed
        .filter(({ path }) => !ofTheService.test(path))
        .map(({ path, change }) => `${change} ${path}`)
      return [host, { state, files }] as const
    }),
  )
  return Object.fromEntries(taken)
}

/** Lines that are gone (-) and new (+), with their host. */
export function differences(before: Snapshot, now: Snapshot): string[] {
  return Object.keys(before).flatMap((host) =>
    (['state', 'files'] as const).flatMap((kind) => {
      const [was, is] = [before[host]?.[kind] ?? [], now[host]?.[kind] ?? []]
      return [
        ...was.filter((line) => !is.includes(line)).map((line) => `${host}: - ${line}`),
        ...is.filter((line) => !was.includes(line)).map((line) => `${host}: + ${line}`),
      ]
    }),
  )
}
