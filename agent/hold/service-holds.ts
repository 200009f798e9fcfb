/** The holds of this host's services: at most one each. */
import { FleetmoveError } from '../../proto/model/error.js'
import type { HostSpec, ServiceSpec } from '../../proto/model/host-spec.js'
import type { Element } from '../plan/elements.js'
import { paths } from '../plan/own.js'
import { piecesOf } from '../tunnel/tunnel.js'
import { type Hold, type PreparedHold, prepareHold, sweepHolds } from './hold.js'
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
  private readonly prepared = new Map<string, PreparedHold>()
  private readonly holds = new Map<string, Hold>()
  private readonly starting = new Set<string>()
  private means: Promise<HoldMeans> | undefined

  /** Why base chains must not be deleted now. */
  get busy(): string | undefined {
    const held = [...this.starting, ...this.prepared.keys(), ...this.holds.keys()]
    return held.length > 0 ? `clients of ${held.join(', ')} are held` : undefined
  }

  /**
   * Makes ready to keep packets waiting that open a connection to the service by this host's own addresses. What
   * comes out of a tunnel will pass: it waits at the other end.
   * @param clear ends what would delete base chains meanwhile
   */
  async prepare(spec: HostSpec, service: ServiceSpec, clear: () => Promise<void>): Promise<HoldMeans> {
    // Of the move before this one: its clients are gone, its rules may not be.
    await this.holds.get(service.name)?.release()
    if (this.prepared.has(service.name) || this.starting.has(service.name)) {
      throw new FleetmoveError('conflict', {
        message: `${service.name} is held already`,
        hint: 'another controller moves it: look at `fleetmove status`, then run the command again',
      })
    }
    this.starting.add(service.name)
    try {
      await clear()
      this.means ??= findHoldMeans()
      const prepared = await prepareHold({
        listeners: service.routes.map(({ protocol, address, ports }) => ({ protocol, address, ports })),
        means: await this.means,
        maxPackets,
        maxBytes,
        exceptDevices: spec.tunnels.map((tunnel) => piecesOf(tunnel).device),
        // This very program: the runtime, and the bundle that it runs.
        holder: [process.execPath, process.argv[1]!, 'hold'],
        runDirectory: paths.run,
      })
      this.prepared.set(service.name, prepared)
      return prepared.means
    } finally {
      this.starting.delete(service.name)
    }
  }

  /** Clients wait from when these stand; none where nothing is prepared. `begun` must follow. */
  elements(service: string, maxMs: number): Element[] {
    return this.prepared.get(service)?.elements(maxMs) ?? []
  }

  begun(service: string, maxMs: number): void {
    const hold = this.prepared.get(service)?.begin(maxMs)
    if (!hold) return
    this.prepared.delete(service)
    this.holds.set(service, hold)
    hold.ended.catch(() => {}).finally(() => this.holds.get(service) === hold && this.holds.delete(service))
  }

  /**
   * Lets everybody go; nothing to do where nothing is held any more. What is left of the hold is taken away meanwhile.
   * @returns what was counted until then
   */
  async release(service: string): Promise<HoldCounted> {
    const hold = this.holds.get(service)
    if (!hold) {
      await this.cancel(service)
      // Of an agent that has died in the gap.
      await sweepHolds(true)
      return { syns: 0, datagrams: 0, dropped: 0 }
    }
    // Asked for before, and not waited for: clients are.
    const held = hold.held()
    hold.release().catch(() => {})
    const { syns, datagrams, dropped, lost } = await held
    return { syns, datagrams, dropped: dropped + lost }
  }

  /** Of a hold that was never begun, or has gone on too long. */
  async cancel(service: string): Promise<void> {
    const prepared = this.prepared.get(service)
    this.prepared.delete(service)
    await prepared?.cancel()
    await this.holds.get(service)?.release()
  }
}
