/** A unit whose own connections keep the old host's address on the new one. */
import { none, same } from '../world.js'
import { answerOnClient, askEcho, echoPort, putProgram, seenAs, startEcho } from './echo.js'
import type { Scenario } from './scenario.js'
import { finalize, fleetText, serviceText, verifyAll } from './web-move.js'

const unit = 'web-echo.service'
/** Shell that runs perl as a process of the unit: what the kernel sees of that is the control group. */
const inUnit = `sh -c 'echo $$ >/sys/fs/cgroup$(systemctl show -p ControlGroup --value ${unit})/cgroup.procs && exec perl "$@"' sh`

export const egressUnit: Scenario = {
  name: 'egress-unit',
  title:
    'what a unit opens itself keeps the old address, by both families, also once it is restarted; all else does not',
  needs: ['systemd'],
  async run(world) {
    const lifecycle = await startEcho(world, 'old1', 'new1')
    const more = ['strategy: recreate', 'hold: 60s', 'egress: old1']
    const service = { listen: `[tcp/${echoPort}, udp/${echoPort}]`, lifecycle, health: 'tcp', more }
    await world.writeFleet(fleetText(world, serviceText(world, 'echo', service), ['old1', 'new1']))
    for (const host of ['old1', 'new1']) await putProgram(world, host, 'ask.pl')
    const end = await answerOnClient(world)
    try {
      await world.remember()
      await world.fleetmove('up')
      await seenAs(world, 'the unit', 'old1', inUnit, 'old1')
      await world.fleetmove('advance echo')
      await verifyAll(world)
      for (const called of ['old1', 'new1']) await askEcho(world, called, 'new1')
      await seenAs(world, 'the unit', 'new1', inUnit, 'old1')
      await seenAs(world, 'root', 'new1', 'perl', 'new1')
      // Its control group is another one then, by the same name.
      await world.shell('new1', `systemctl restart ${unit}`)
      await seenAs(world, 'the unit, restarted,', 'new1', inUnit, 'old1')
      await world.fleetmove('rollback echo')
      await seenAs(world, 'the unit', 'old1', inUnit, 'old1')
      await world.fleetmove('advance echo')
      await finalize(world)
      await seenAs(world, 'the unit', 'new1', inUnit, 'new1')
    } finally {
      await end()
    }
    same('the unit', (await world.shell('new1', `systemctl is-active ${unit}`)).trim(), 'active')
    none('left behind', await world.leftovers())
  },
}
