/**
 * Services of which one host tells nothing: its agent is gone, or has lost its state. No tunnel of it is known then, so
 * specs made without it would take the other end away, and all who are forwarded there with it, whatever a change is
 * about; and a verification would find nothing to try.
 */
import { FleetmoveError } from '../proto/model/error.js'
import { isUnderWay } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import type { Service } from './config/fleet.js'
import type { States } from './plan/host-specs.js'
import { pairKey, type TunnelPair } from './plan/tunnel-pair.js'
import type { World } from './world.js'

/** @throws FleetmoveError 'unreachable', or an AggregateError with one for each such host */
export function refuseUntied(
  { specs, agents }: Pick<World, 'specs' | 'agents'>,
  services: readonly Service[],
  { states, pairs }: { states: States; pairs: readonly TunnelPair[] },
): void {
  const tied = new Set(pairs.map(({ a, b }) => pairKey(a, b)))
  const problems = new Map<Name, FleetmoveError>()
  for (const { name, from, to } of services) {
    if (!isUnderWay(states.get(name)?.stage ?? 'planned') || tied.has(pairKey(from, to))) continue
    const lacks = (host: Name, peer: Name): boolean => !specs.get(host)?.tunnels.some((tunnel) => tunnel.peer === peer)
    const host = lacks(from, to) ? from : to
    const peer = host === from ? to : from
    problems.set(
      host,
      new FleetmoveError('unreachable', {
        message: agents.has(host)
          ? `it has no end of the tunnel to ${peer} any more, by which ${name} is forwarded`
          : `no agent runs there, though ${name} is forwarded between it and ${peer}`,
        hint: 'run `fleetmove up`: it starts the agent and puts everything back',
        host,
      }),
    )
  }
  if (problems.size === 0) return
  const [first, ...others] = problems.values()
  throw others.length === 0 ? first : new AggregateError([first, ...others])
}
