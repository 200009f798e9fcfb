/** Hosts whose firewall lets in SSH and the service and drops the rest, what is forwarded above all. */
import { none, type World } from '../world.js'
import type { Scenario } from './scenario.js'
import { verifyAll, wholeMove, writeWebFleet } from './web-move.js'

const firewall = (name: string, enable: string, reload: string): Scenario => ({
  name,
  title: `both hosts have ${name} enabled: told to let through what fleetmove forwards, also after a reload; as found afterwards`,
  needs: ['systemd', 'firewalls'],
  async run(world) {
    for (const host of ['old1', 'new1']) await world.shell(host, enable)
    await writeWebFleet(world)
    await world.shell('old1', 'systemctl start nginx')
    await world.remember()
    await world.fleetmove('up')
    await reloaded(world, reload)
    await verifyAll(world)
    await world.fleetmove('down')
    none('left behind', await world.leftovers())
    await wholeMove(world)
  },
})

async function reloaded(world: World, reload: string): Promise<void> {
  for (const host of ['old1', 'new1']) await world.shell(host, reload)
}

export const firewalls: readonly Scenario[] = [
  firewall('ufw', 'ufw allow 22/tcp && ufw allow 80/tcp && ufw --force enable', 'ufw reload'),
  firewall(
    'firewalld',
    'systemctl start firewalld && firewall-cmd -q --permanent --add-service=http && firewall-cmd -q --reload',
    'firewall-cmd -q --reload',
  ),
]
