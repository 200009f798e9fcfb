/** Arrivals over time, by service and by the host whose address was used. */
import type { Name } from '../proto/model/names.js'
import type { Agent } from './agents/agent.js'
import { inParallel } from './in-parallel.js'
import type { ArrivalRow } from './plan/arrivals-over-time.js'
import type { RecordEntry } from './record.js'
import type { World } from './world.js'

/** Asks one host's agent; it knows seven days. */
export async function readHistory(agent: Agent): Promise<ArrivalRow[]> {
  return (await agent.history()).map(({ service, fromMs, toMs, forwarded, served }) => ({
    ...{ service, from: fromMs, to: toMs, forwarded, served },
  }))
}

/** Writes down what the agents know, before services are released and agents leave. */
export async function keepHistory(world: World): Promise<void> {
  await inParallel(world.fleet.hosts.keys(), async (host) => {
    const agent = world.agents.get(host)
    if (!agent) return
    const rows = await readHistory(agent)
    if (rows.length > 0) world.record.add({ type: 'arrivals', host, rows })
  })
}

/**
 * Puts together what was kept at different times, and what the hosts tell now: of spans that two of them know,
 * the younger telling counts.
 * @param live of the hosts that could be asked
 */
export function allArrivals(
  entries: readonly RecordEntry[],
  live: ReadonlyMap<Name, readonly ArrivalRow[]>,
): Map<Name, ArrivalRow[]> {
  const tellings = [
    ...entries.flatMap((entry) => (entry.type === 'arrivals' ? [{ host: entry.host, rows: entry.rows }] : [])),
    ...[...live].map(([host, rows]) => ({ host, rows })),
  ].reverse()
  const all = new Map<Name, ArrivalRow[]>()
  for (const { host, rows } of tellings) {
    const known = all.get(host) ?? []
    const begin = known[0]?.from ?? Number.POSITIVE_INFINITY
    all.set(host, [...rows.filter((row) => row.to <= begin), ...known])
  }
  return all
}
