/** Why a tunnel's peer doesn't answer, as far as this end can know. */
import type { TunnelSpec } from '../proto/model/host-spec.js'
import { linkStats } from './kernel/link-stats.js'
import { observeProcesses } from './kernel/process.js'
import { routeMtu } from './kernel/route-get.js'
import { paths } from './plan/own.js'
import { piecesOf } from './tunnel/tunnel.js'

/** What came in by each device when its silence was last looked at: the peer asks us, too. */
export class TunnelCauses {
  private readonly received = new Map<string, number>()

  /** From the near end to the far one; a sentence without a full stop. */
  async of(tunnel: TunnelSpec): Promise<string> {
    const { device, processes } = piecesOf(tunnel)
    const stats = await linkStats(device)
    if (!stats) return `the device ${device} is gone`
    if (!stats.up) return `the device ${device} is down`
    const alive = observeProcesses(paths.run)
    const dead = processes.find(({ name }) => alive[name] === undefined)
    if (dead) return `the process of the tunnel (${dead.name}) doesn't run`
    if (tunnel.driver !== 'direct') {
      const noRoute = await routeMtu(tunnel.remote).then(
        () => null,
        (error: Error) => error.message,
      )
      if (noRoute) return noRoute
    }
    const before = this.received.get(device)
    this.received.set(device, stats.rxBytes)
    if (before !== undefined && stats.rxBytes > before)
      return `packets of ${tunnel.peer} come in by ${device}, but ours aren't answered: they are lost on the way there, or ${tunnel.peer} drops them`
    return tunnel.driver === 'direct'
      ? `${tunnel.peer} is silent: nothing comes by ${device}`
      : `${tunnel.peer} is silent: nothing comes from ${tunnel.remote} by UDP port ${tunnel.port}; it is down, or the path to it is`
  }
}
