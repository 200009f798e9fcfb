/**
 * Where processors are emulated, only the hosts that services move between are machines. The controller, the clients
 * and the router are booted containers on this machine's kernel: fleetmove changes nothing in their kernels.
 */
import type { ChildProcess } from 'node:child_process'
import { type ExecOptions, type ExecResult, execInside } from '../../cli/lab/exec.js'
import { labTopology } from '../../cli/lab/topology.js'
import type { NspawnNetwork } from '../nspawn/nspawn.js'
import type { Substrate } from '../substrate.js'
import { type Place, runAt } from './libvirt-by-hand.js'
import type { Machines } from './machines.js'

export class Joined implements Substrate {
  readonly name = 'vagrant'
  readonly node: string
  readonly tree: string
  readonly patience: number

  private constructor(
    private readonly machines: Machines,
    private readonly names: readonly string[],
    private readonly network: NspawnNetwork,
  ) {
    this.node = network.node
    this.tree = network.tree
    this.patience = machines.patience
  }

  /** Lays a cable between both bridges of every subnet with a machine in it: libvirt's, and the router's. */
  static async join(
    place: Place,
    machines: Machines,
    names: readonly string[],
    network: NspawnNetwork,
  ): Promise<Joined> {
    const subnets = new Set(names.map((name) => labTopology.hosts[name]?.subnet ?? ''))
    for (const subnet of subnets) {
      const far = `to-${subnet}`
      const script = `ip link add to-machines netns ${network.router} type veth peer name ${far} netns ${place.pid}`
      await must(execInside(process.pid, 'this machine', ['sh', '-c', script]))
      // Under STP a new port is silent for seconds.
      const there = `set -eu
        bridge=$(virsh -q net-info fleetmove-${subnet} | sed -n 's/^Bridge: *//p')
        ip link set "$bridge" type bridge stp_state 0
        ip link set ${far} master "$bridge" up`
      await must(runAt(place, ['sh', '-c', there], {}, 60_000))
      const here = `ip link set to-machines name m-${subnet} && ip link set m-${subnet} master ${subnet} up`
      await must(network.exec(labTopology.router, ['sh', '-c', here]))
    }
    // It gives all that fleetmove does on a host more time: see slownessOf.
    const patient = 'echo "  ConnectTimeout 120" >>/root/.ssh/config'
    await must(network.exec('controller', ['sh', '-c', patient]))
    return new Joined(machines, names, network)
  }

  private of(host: string): Substrate {
    return this.names.includes(host) ? this.machines : this.network
  }

  lacks(): undefined {
    return undefined
  }

  exec(host: string, argv: readonly string[], options?: ExecOptions): Promise<ExecResult> {
    return this.of(host).exec(host, argv, options)
  }

  spawn(host: string, argv: readonly string[]): ChildProcess {
    return this.of(host).spawn(host, argv)
  }

  copy(host: string, path: string, content: string | Buffer, mode?: number): Promise<void> {
    return this.of(host).copy(host, path, content, mode)
  }

  reboot(host: string): Promise<void> {
    return this.of(host).reboot(host)
  }

  cut(one: string, other: string): Promise<void> {
    return this.network.cut(one, other)
  }

  heal(one: string, other: string): Promise<void> {
    return this.network.heal(one, other)
  }

  capture(host: string, filter: string): Promise<{ stop(): Promise<string[]> }> {
    return this.of(host).capture(host, filter)
  }

  end(): Promise<void> {
    return this.network.end()
  }
}

async function must(running: Promise<ExecResult>): Promise<void> {
  const { code, stderr } = await running
  if (code !== 0) throw new Error(`machines and containers can't be joined: ${stderr.trim()}`)
}
