import type { World } from './world.js'

/** The longest that an agent lets a probe take. */
const longestMs = 60_000

/** A time for what crosses several hosts, in ms: as patient as with the slowest of them, at most a minute. */
export const patient = (world: Pick<World, 'agents'>, ms: number): number =>
  Math.min(longestMs, ms * Math.max(1, ...[...world.agents.values()].map(({ slowness }) => slowness)))
