import type * as wire from '../../proto/gen/fleetmove.js'
import type { Conntrack } from '../kernel/conntrack.js'
import { countEntries, mostEntries } from '../kernel/conntrack-size.js'
import { isRenumbered } from './forget.js'
import { wayOf } from './service-flows.js'

/** Nobody reads more; whether there are some is what matters. */
const mostRenumbered = 1000

/** How full connection tracking is, our share of it, and what will not outlive our table. */
export async function tracked(conntrack: Conntrack): Promise<Omit<wire.TrackedConnections, 'shed' | 'shedding'>> {
  let own = 0
  const renumbered: number[] = []
  await conntrack.walk({}, (entry) => {
    if (wayOf(entry.mark).way !== 'direct') own += 1
    else if (entry.tcpState === 'established' && isRenumbered(entry)) renumbered.push(entry.id)
  })
  const [entries, most] = await Promise.all([countEntries(), mostEntries()])
  return { entries, most, own, renumbered: renumbered.slice(0, mostRenumbered) }
}
