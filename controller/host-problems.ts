/** What stands in the way on hosts, before anything is changed anywhere: all of it, on all of them, at once. */
import { FleetmoveError } from '../proto/model/error.js'
import { segmentProblems } from './check-segments.js'
import type { Fleet } from './config/fleet.js'
import { copiesData } from './data.js'
import { conflicts } from './plan/conflicts.js'
import { preflight } from './plan/preflight.js'
import { redirectPorts } from './plan/redirects.js'
import { neededPairs } from './plan/tunnel-pair.js'
import type { Site } from './site.js'

/** @throws FleetmoveError or AggregateError 'preflight' unless there are none */
export function refuseHosts(problems: readonly FleetmoveError[]): void {
  if (problems.length === 1) throw problems[0]
  if (problems.length > 1) throw new AggregateError(problems, 'preflight')
}

/** What stands in the way of an agent or a tunnel on these hosts, which may be only some of the fleet's. */
export function hostProblems(fleet: Fleet, sites: readonly Site[]): FleetmoveError[] {
  const hosts = sites.map(({ name, facts }) => ({ host: name, facts, copiesData: copiesData(fleet, name) }))
  const links = neededPairs(fleet).map(({ a, b }) => ({ left: a, right: b, driver: fleet.tunnel.driver }))
  const clashes = sites.flatMap(({ name, facts }) => {
    const host = fleet.hosts.get(name)
    const tunnels = links.filter(({ left, right }) => left === name || right === name).length
    if (!host || tunnels === 0) return []
    const addresses = host.addresses.map((address) => address.local ?? address.public)
    const redirects = redirectPorts(fleet, host.name)
    return conflicts({ host: name, facts, port: fleet.tunnel.port, tunnels, addresses, redirects })
  })
  const apart = segmentProblems(fleet, (name) => sites.find((site) => site.name === name)?.facts)
  return [...preflight(hosts, links), ...clashes, ...apart].map(
    ({ host, message, hint }) => new FleetmoveError('preflight', { host, message, hint }),
  )
}
