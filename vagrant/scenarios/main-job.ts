import { same } from '../world.js'
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
  {
    name: 'debian-13',
    title: 'the same, from a host with Debian 12 to one with Debian 13',
    needs: ['systemd', 'releases'],
    releases: { new1: 'trixie' },
    async run(world) {
      same('the release of new1', await world.shell('new1', '. /etc/os-release; echo $VERSION_ID'), '13\n')
      await writeWebFleet(world)
      await wholeMove(world)
    },
  },
]
