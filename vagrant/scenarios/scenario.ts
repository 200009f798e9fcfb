import type { Ability, Releases } from '../substrate.js'
import type { World } from '../world.js'

export interface Scenario {
  /** How it is called on the command line. */
  readonly name: string
  /** One line for people. */
  readonly title: string
  readonly needs?: readonly Ability[]
  /** Hosts that it uses; controller, client1, old1 and new1 if left away. */
  readonly hosts?: readonly string[]
  /** Debian releases of hosts that don't run the usual one; such a scenario needs `releases`. */
  readonly releases?: Releases
  /** Ends normally if all is as it must be; throws with what is not. */
  run(world: World): Promise<void>
}

export const usualHosts = ['controller', 'client1', 'old1', 'new1'] as const
