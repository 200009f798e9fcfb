import type { Conntrack, ConntrackEntry } from '../kernel/conntrack.js'
import { wayOf } from './service-flows.js'

/**
 * Deletes connections of ours that are over and only wait for stray packets (TIME_WAIT, two minutes long): none
 * can follow to a port that is opened anew, and a stray packet is answered by nobody.
 * @param most how many at most
 * @returns how many were deleted
 */
export async function forgetClosed(conntrack: Conntrack, most: number): Promise<number> {
  const doomed: ConntrackEntry[] = []
  await conntrack.walk({ protocol: 'tcp' }, (entry) => {
    if (doomed.length >= most || wayOf(entry.mark).way === 'direct') return
    if (entry.tcpState === 'time-wait' || entry.tcpState === 'close') doomed.push(entry)
  })
  return conntrack.deleteAll(doomed)
}
