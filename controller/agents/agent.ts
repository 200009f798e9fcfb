/** One host's agent, as the use cases see it. Every method throws FleetmoveErrors that bear the host's name. */

import type * as wire from '../../proto/gen/fleetmove.js'
import type { Ip } from '../../proto/model/address.js'
import type { HostSpec } from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'
import type { FlowQuery } from '../../proto/model/probe.js'
import type { RelaySpec } from '../../proto/model/relay.js'

export interface AgentState {
  version: string
  hostname: string
  confirmed: HostSpec | null
  trial: HostSpec | null
  trialRemainingMs: number
  /** The highest generation that this host has ever taken. */
  generation: number
  /** Moves that are in their gap there. */
  gaps: wire.OpenGap[]
}

/** Something that runs on the host until it is stopped. */
export interface Running {
  stop(): void
}

/** A peer may read a service's data until it is stopped. */
export interface ServedData extends Running {
  /** What the other end's `pullData` needs, and this host's clock for `recordData`. */
  readonly access: Pick<wire.ServeDataEvent, 'port' | 'user' | 'secret' | 'atUs' | 'empty'>
}

/** The lock of this run on one host. */
export interface HostLease {
  renew(): void
  release(): Promise<void>
  /** Resolves when the connection by which it was held has ended without a release. */
  readonly lost: Promise<void>
}

export interface Agent {
  readonly host: Name
  /** How many times longer than usual things may take there: 1 or more (ConnectTimeout in ~/.ssh/config). */
  readonly slowness: number
  hello(): Promise<AgentState>
  identity(kind: 'wireguard' | 'openvpn'): Promise<string>
  /** Resolves when the reflector listens. */
  reflect(port: number, token: Uint8Array): Promise<Running>
  measurePath(request: wire.MeasurePathRequest): Promise<wire.MeasurePathReply>
  /** Changes nothing. `before`: a spec that is going to be applied first. */
  plan(spec: HostSpec, before?: HostSpec): Promise<wire.PlanReply>
  apply(spec: HostSpec, confirmWithinMs: number): Promise<wire.ApplyReply>
  confirm(generation: number): Promise<void>
  revert(generation: number): Promise<string[]>
  awaitTunnel(tunnel: number, timeoutMs: number): Promise<wire.AwaitTunnelReply>
  status(maxArrivals: number): Promise<wire.StatusReply>
  pulse(): Promise<wire.PulseReply>
  /** New connections over time, the oldest first. */
  history(): Promise<wire.HistoryRow[]>
  /** Resolves when the witness listens; `onReceipt` is called for each probe that arrives. */
  witness(ports: number[], tokens: Uint8Array[], onReceipt: (receipt: wire.Receipt) => void): Promise<Running>
  probe(request: wire.ProbeRequest): Promise<wire.ProbeReply>
  relay(request: RelaySpec): Promise<wire.RelayReply>
  findFlow(request: FlowQuery): Promise<wire.FindFlowReply>
  /** Resolves when the kernel tells of these packets; it does so until it is stopped, or `forMs` are over. */
  trace(request: wire.TraceRequest, onHop: (hop: wire.TraceHop) => void): Promise<Running>
  lifecycle(request: wire.LifecycleRequest): Promise<wire.LifecycleReply>
  health(request: wire.HealthRequest): Promise<wire.HealthReply>
  /**
   * @param addresses only connections by these; all where there is none
   * @param withinMs for how long it is waited until nobody is left, at most ten seconds
   */
  drain(service: Name, addresses: readonly Ip[], withinMs: number): Promise<wire.DrainReply>
  /**
   * One step of a move's gap.
   * @param withinMs the longest that it may take where it runs a command of the service
   * @throws FleetmoveError 'stale' when the hosts have ended that gap by themselves.
   */
  gap(
    request: Pick<wire.GapRequest, 'service' | 'id' | 'action'> & Partial<wire.GapRequest>,
    withinMs?: number,
  ): Promise<wire.GapReply>
  /** @returns how many openings were forgotten that nobody had answered. */
  settle(service: Name): Promise<number>
  outcomes(service: Name): Promise<wire.OutcomesReply>
  /** @returns how many connections were ended. */
  reset(service: Name): Promise<number>
  /** `settle`: resolves when no answers of a server to these flows are under way any more. */
  purgeUdp(service: Name, settle: boolean): Promise<number>
  /** Resolves when the peer can copy. */
  serveData(request: wire.ServeDataRequest): Promise<ServedData>
  /** Resolves when the copy has ended, however long it takes. */
  pullData(request: wire.PullDataRequest, onProgress: (progress: wire.DataProgress) => void): Promise<wire.DataResult>
  inspectData(service: Name, directories: readonly string[]): Promise<wire.DataDirectory[]>
  recordData(service: Name, directories: readonly string[], atUs: number): Promise<void>
  /** @throws FleetmoveError 'locked' with who holds it. */
  lock(request: wire.LockRequest): Promise<HostLease>
  unlock(id: string): Promise<wire.UnlockReply>
  leave(generation: number): Promise<string[]>
}
