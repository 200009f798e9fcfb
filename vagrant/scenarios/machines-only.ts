/** What only machines with a kernel of their own can show. */
import { same, type World } from '../world.js'
import type { Scenario } from './scenario.js'
import { wholeMove, writeWebFleet } from './web-move.js'

/** Who makes both ends of the tunnel. */
async function ends(world: World, old1: string, new1: string): Promise<void> {
  const look =
    'pgrep -x wireguard-go >/dev/null && echo wireguard-go; [ -z "$(ip -o link show type wireguard)" ] || echo the kernel'
  for (const [host, who] of Object.entries({ old1, new1 }))
    same(`WireGuard on ${host}`, (await world.shell(host, `${look}; true`)).trim(), who)
}

const kernelWireguard: Scenario = {
  name: 'kernel-wireguard',
  title: "the main job over the kernel's own WireGuard, with VXLAN in it",
  needs: ['systemd', 'kernel-wireguard'],
  async run(world) {
    await writeWebFleet(world, { driver: 'wireguard-l2' })
    await wholeMove(world, () => ends(world, 'the kernel', 'the kernel'))
  },
}

const kernelAndProgram: Scenario = {
  name: 'kernel-wireguard-go',
  title: "the main job between a host with the kernel's WireGuard and one that has wireguard-go",
  needs: ['systemd', 'kernel-wireguard'],
  async run(world) {
    await world.shell(
      'new1',
      'echo install wireguard /bin/false >/etc/modprobe.d/practice.conf; rmmod wireguard 2>/dev/null || true',
    )
    await writeWebFleet(world, { driver: 'wireguard' })
    await wholeMove(world, () => ends(world, 'the kernel', 'wireguard-go'))
  },
}

const lossy: Scenario = {
  name: 'lossy-path',
  title: 'the main job where every packet that the hosts send takes 40 ms and one in a hundred is lost',
  needs: ['systemd', 'netem'],
  async run(world) {
    for (const host of ['old1', 'new1'])
      await world.shell(host, 'modprobe sch_netem; tc qdisc add dev eth1 root netem delay 40ms loss 1%')
    await writeWebFleet(world)
    await wholeMove(world)
  },
}

export const machinesOnly: readonly Scenario[] = [kernelWireguard, kernelAndProgram, lossy]
