/** What only machines with a kernel of their own can show. */
import { same } from '../world.js'
import type { Scenario } from './scenario.js'
import { startWeb, wholeMove, writeWebFleet } from './web-move.js'

const kernelWireguard: Scenario = {
  name: 'kernel-wireguard',
  title: "the main job over the kernel's own WireGuard, with VXLAN in it",
  needs: ['systemd', 'kernel-wireguard'],
  async run(world) {
    await writeWebFleet(world, { driver: 'wireguard-l2' })
    await startWeb(world)
    await world.fleetmove('up')
    const kind = "ip -d -o link show type wireguard | grep -c ' fmw1:'; pgrep wireguard-go || echo none"
    for (const host of ['old1', 'new1']) same(`WireGuard on ${host}`, await world.shell(host, kind), '1\nnone\n')
    await world.fleetmove('down')
    await wholeMove(world, 5)
  },
}

const lossy: Scenario = {
  name: 'lossy-path',
  title: 'the main job where every packet takes 40 ms and one in a hundred is lost',
  needs: ['systemd', 'netem'],
  async run(world) {
    // The router's devices towards both hosts' subnets: clients, old, new, private.
    for (const device of ['eth2', 'eth3'])
      await world.shell('router', `tc qdisc add dev ${device} root netem delay 40ms loss 1%`)
    await writeWebFleet(world)
    await wholeMove(world, 5)
  },
}

export const machinesOnly: readonly Scenario[] = [kernelWireguard, lossy]
