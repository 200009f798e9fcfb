/** The holds of this host's services: at most one each. */
import { FleetmoveError } from '../../proto/model/error.js'
import type { HostSpec, ServiceSpec } from '../../proto/model/host-spec.js'
import { paths } from '../plan/own.js'
import { piecesOf } from '../tunnel/tunnel.js'
import { type Hold, startHold } from './hold.js'
import { findHoldMeans } from './hold-means.js'
import type { HoldMeans } from './hold-rules.js'

/**
 * The kernel keeps a copy of each, a process of ours its place in the line: a SYN takes about 2 kB. At
 * 1,000 new connections a second this is 20 s.
 */
const maxPackets = 20_000
/** Of first datagrams: 16 MiB. */
const maxBytes = 16 * 1024 * 1024

export interface HoldCounted {
  /** Clients that waited, and datagrams. */
  syns: number
  datagrams: number
  /** Too many to keep, or lost on the way. */
  dropped: number
}

export class ServiceHolds {
  private readonly holds = new Map<string, Hold>()
  private readonly starting = new Set<string>()
  private means: Promise<HoldMeans> | undefined

  /** Why base chains must not be deleted now. */
  get busy(): string | undefined {
    const held = [...this.starting, ...this.holds.keys()]
    return held.length > 0 ? `clients of ${held.join(', ')} are held` : undefined
  }

  /**
   * Resolves when packets that open a connection to the service by this host's own addresses wait. What
   * comes out of a tunnel passes: it waited at the other end.
   * @param clear ends what would delete base chains meanwhile
   */
  async start(
    spec: HostSpec,
    service: ServiceSpec,
    { maxMs, signal, clear }: { maxMs: number; signal: AbortSignal; clear: () => Promise<void> },
  ): Promise<HoldMeans> {
    if (this.holds.has(service.name) || this.starting.has(service.name)) {
      throw new FleetmoveError('conflict', {
        message: `${service.name} is held already`,
        hint: 'another controller moves it: look at `fleetmove status`, then run the command again',
      })
    }
    this.starting.add(service.name)
    try {
      await clear()
      return await this.begin(spec, service, maxMs, signal)
    } finally {
      this.starting.delete(service.name)
    }
  }

  private async begin(spec: HostSpec, service: ServiceSpec, maxMs: number, signal: AbortSignal): Promise<HoldMeans> {
    this.means ??= findHoldMeans()
    const hold = await startHold({
      listeners: service.routes.map(({ protocol, address, ports }) => ({ protocol, address, ports })),
      means: await this.means,
      maxMs,
      maxPackets,
      maxBytes,
      exceptDevices: spec.tunnels.map((tunnel) => piecesOf(tunnel).device),
      // This very program: the runtime, and the bundle that it runs.
      holder: [process.execPath, process.argv[1]!, 'hold'],
      runDirectory: paths.run,
      signal,
    })
    this.holds.set(service.name, hold)
    hold.ended.finally(() => this.holds.delete(service.name)).catch(() => {})
    return hold.means
  }

  /** Lets everybody go; nothing to do where nothing is held any more. */
  async release(service: string): Promise<HoldCounted> {
    const hold = this.holds.get(service)
    if (!hold) return { syns: 0, datagrams: 0, dropped: 0 }
    // Asked for before, and not waited for: clients are.
    const [{ syns, datagrams }, { counts }] = await Promise.all([hold.held(), hold.release()])
    return { syns, datagrams, dropped: counts.dropped + counts.lost }
  }
}
