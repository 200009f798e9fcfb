import type { Scenario } from './scenario.js'
import { wholeMove, writeWebFleet } from './web-move.js'

/** The main job, and the same over each tunnel. */
export const mainJob: Scenario[] = [
  {
    name: 'main-job',
    title: 'nginx moves under load; finalize leaves units, files and kernel as found',
    async run(world) {
      await writeWebFleet(world)
      await wholeMove(world)
    },
  },
  ...(['openvpn', 'wireguard', 'wireguard-l2'] as const).map(
    (driver): Scenario => ({
      name: `tunnel-${driver}`,
      title: `the same over ${driver}`,
      async run(world) {
        await writeWebFleet(world, { driver })
        await wholeMove(world)
      },
    }),
  ),
]
