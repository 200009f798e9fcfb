/** The gRPC service: decode, call, encode. What comes in is checked before anything is done with it. */
import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import type { ServerUnaryCall, ServerWritableStream, sendUnaryData } from '@grpc/grpc-js'
import * as codec from '../proto/codec.js'
import { errorToStatus } from '../proto/error-wire.js'
import type * as wire from '../proto/gen/fleetmove.js'
import type { AgentServer } from '../proto/gen/fleetmove.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { ServiceSpec } from '../proto/model/host-spec.js'
import type { ProbeResult, ProbeSpec } from '../proto/model/probe.js'
import { startRelayTest } from '../proto/relay-test.js'
import { sendProbe, startProbe } from '../proto/send-probe.js'
import { controlBoot } from './boot.js'
import { inspectData } from './data/inspect-data.js'
import { pullData } from './data/pull-data.js'
import { writeRecords } from './data/records.js'
import { type Served, serveData } from './data/serve-data.js'
import type { Traces } from './explain/traces.js'
import { checkEgress } from './flows/check-egress.js'
import { awaitDrained, drain } from './flows/drain.js'
import { findFlow } from './flows/find-flow.js'
import { forgetMisled } from './flows/forget.js'
import type { ListeningProcesses } from './flows/listening-processes.js'
import { outcomes } from './flows/outcomes.js'
import { purgeUdp } from './flows/purge-udp.js'
import { resetConnections } from './flows/reset.js'
import { actInGap } from './gap/act.js'
import type { GappedHost } from './gap/gapped-host.js'
import type { Gaps } from './gap/gaps.js'
import { awaitHealthy } from './health.js'
import type { ServiceHolds } from './hold/service-holds.js'
import type { Host } from './host.js'
import { identity } from './identity.js'
import { openConntrack } from './kernel/conntrack.js'
import { describeStep } from './kernel/describe-step.js'
import { runHook, runLifecycle } from './lifecycle.js'
import { lockService } from './lock-service.js'
import { checkOf, meansOf } from './means.js'
import { measurePath, reflect } from './path.js'
import { paths } from './plan/own.js'
import { Witnesses } from './probe/witness.js'
import { pulse } from './pulse.js'
import { awaitPeer } from './reach.js'
import { requests } from './requests.js'
import { status, type Upkeep } from './status.js'
import { version } from './version.js'

const { decode } = codec

/** Longer than the way there and back to most clients; a slower one waits for its own second try. */
const handshakeMs = 300

export interface ServiceParts {
  host: GappedHost
  upkeep: Upkeep
  gaps: Gaps
  holds: ServiceHolds
  listening: ListeningProcesses
  traces: Traces
  /** Called when everything has been taken back and the reply is sent: the process may end. */
  leave: () => void
}

export function agentService({ host, upkeep, gaps, holds, listening, traces, leave }: ServiceParts): AgentServer {
  const conntrack = openConntrack()
  const witnesses = new Witnesses()
  return {
    hello: unary(async () => ({
      version,
      hostname: hostname(),
      confirmed: host.confirmed ? codec.encodeHostSpec(host.confirmed) : undefined,
      trial: host.trial ? codec.encodeHostSpec(host.trial.spec) : undefined,
      trialRemainingMs: host.trial?.remainingMs ?? 0,
      expiredGeneration: host.expired,
      generation: host.generation,
      gaps: host.gaps.map(({ service, id, plan, phase, letGo }) => ({ service, id, role: plan.role, phase, letGo })),
    })),
    identity: unary(async (request: wire.IdentityRequest) => ({
      identity: await identity(decode('identity', requests.identity, request).kind, paths.keys),
    })),
    reflect: streaming(async (request: wire.ReflectRequest, send: (event: wire.ReflectEvent) => void, signal) => {
      const { port, token } = decode('reflect', requests.reflect, request)
      const end = await host.letMeasure(port)
      try {
        await reflect({
          port,
          token,
          signal,
          onReady: () => send({ ready: true, from: '', bytes: 0 }),
          onDatagram: (from, bytes) => send({ ready: false, from, bytes }),
        })
      } finally {
        await end()
      }
    }),
    measurePath: unary(async (request: wire.MeasurePathRequest) =>
      measurePath(decode('measurePath', requests.measurePath, request)),
    ),
    plan: unary(async (request: wire.PlanRequest) => {
      const before = request.before && codec.decodeHostSpec(request.before)
      const { steps, ruleset, present, files } = await host.plan(codec.decodeHostSpec(request.spec), before)
      return { steps: steps.map(describeStep), ruleset, presentRuleset: present, files: await withPresent(files) }
    }),
    apply: unary(async (request: wire.ApplyRequest) => {
      const within = decode('confirmWithinMs', requests.confirmWithinMs, request.confirmWithinMs)
      const spec = codec.decodeHostSpec(request.spec)
      await checkEgress(spec, listening)
      const steps = await host.apply(spec, within)
      return { steps: steps.map(describeStep), changed: steps.length > 0 }
    }),
    confirm: unary(async (request: wire.ConfirmRequest) => {
      await host.confirm(decode('confirm', requests.generation, request).generation)
      return {}
    }),
    revert: unary(async (request: wire.RevertRequest) => ({
      steps: (await host.revert(decode('revert', requests.generation, request).generation)).map(describeStep),
    })),
    awaitTunnel: unary(async (request: wire.AwaitTunnelRequest) => {
      const { tunnel: index, timeoutMs } = decode('awaitTunnel', requests.awaitTunnel, request)
      return awaitPeer(host.tunnel(index), timeoutMs)
    }),
    status: unary(async (request: wire.StatusRequest) =>
      status(host, conntrack, upkeep, decode('status', requests.status, request).maxArrivals),
    ),
    pulse: unary(async () => pulse(host, conntrack, upkeep)),
    history: unary(async () => {
      await upkeep.history.sample()
      const rows = upkeep.history.rows.map(({ service, from, to, forwarded, served }) => ({
        ...{ service, fromMs: from, toMs: to, forwarded, served },
      }))
      return { rows }
    }),
    witness: streaming(async (request: wire.WitnessRequest, send: (event: wire.WitnessEvent) => void, signal) => {
      const { ports, tokens } = decode('witness', requests.witness, request)
      const witness = await witnesses.open({
        ports,
        tokens,
        signal,
        onReceipt: (receipt) => send({ ready: false, receipt: { ...receipt, token: Buffer.from(receipt.token) } }),
      })
      send({ ready: true, receipt: undefined })
      await aborted(signal)
      witness.close()
    }),
    probe: unary(async (request: wire.ProbeRequest) => probe(decode('probe', requests.probe, request))),
    relay: unary(async (request: wire.RelayRequest) => startRelayTest(decode('relay', requests.relay, request)).result),
    findFlow: unary(async (request: wire.FindFlowRequest) =>
      findFlow(conntrack, decode('findFlow', requests.findFlow, request)),
    ),
    lifecycle: unary(async (request: wire.LifecycleRequest) => {
      const { service, action, lifecycle, environment, timeoutMs } = decode('lifecycle', requests.lifecycle, request)
      const options = { environment, timeoutMs }
      if (action === 'start' || action === 'stop') return runLifecycle(service, action, meansOf(lifecycle), options)
      if (action === 'before_move' || action === 'after_move' || action === 'on_rollback')
        return runHook(service, action, lifecycle.command, options)
      return controlBoot(service, action, lifecycle.unit, options)
    }),
    health: unary(async (request: wire.HealthRequest) => {
      const { service, timeoutMs, ...check } = decode('health', requests.health, request)
      return awaitHealthy(service, checkOf(check, host.spec), timeoutMs)
    }),
    drain: unary(async (request: wire.DrainRequest) => {
      const { addresses, withinMs } = decode('drain', requests.drain, request)
      const service = serviceOf(host, request)
      const routes = service.routes.filter(({ address }) => addresses.length === 0 || addresses.includes(address))
      const { answered, clients, oldest } = await awaitDrained(
        () => drain(conntrack, { ...service, routes }, upkeep.ages),
        withinMs,
      )
      return { established: answered, clients, oldest }
    }),
    trace: streaming(async (request: wire.TraceRequest, send: (event: wire.TraceEvent) => void, signal) => {
      const query = decode('trace', requests.trace, request)
      const onReady = (): void => send({ ready: true, hop: undefined })
      const onHop = (hop: wire.TraceHop): void => send({ ready: false, hop })
      await traces.run({ ...query, signal, onReady, onHop }, holds.busy)
    }),
    gap: unary((request: wire.GapRequest) => actInGap(gaps, host.spec, request)),
    settle: unary(async (request: wire.SettleRequest) => {
      const service = serviceOf(host, request)
      // What is on its way is answered first: an answer without an entry would confuse its client.
      await delay(handshakeMs)
      return { openings: await forgetMisled(conntrack, service) }
    }),
    outcomes: unary(async (request: wire.OutcomesRequest) => outcomes(conntrack, serviceOf(host, request))),
    reset: unary(async (request: wire.ResetRequest) => ({
      connections: await resetConnections(serviceOf(host, request)),
    })),
    purgeUdp: unary(async (request: wire.PurgeUdpRequest) => {
      const { settle } = decode('purgeUdp', requests.purgeUdp, request)
      const options = { settle, runDirectory: paths.run }
      return { flows: await purgeUdp(conntrack, serviceOf(host, request), options) }
    }),
    serveData: streaming(async (request: wire.ServeDataRequest, send: (event: wire.ServeDataEvent) => void, signal) => {
      const { directories, tunnel, live } = decode('serveData', requests.serveData, request)
      const onReady = (served: Served): void => send({ ready: true, ...served })
      await serveData({ directories, live, tunnel: host.tunnel(tunnel), signal, onReady })
    }),
    pullData: streaming(async (request: wire.PullDataRequest, send: (event: wire.PullDataEvent) => void, signal) => {
      const { tunnel, ...pull } = decode('pullData', requests.pullData, request)
      const { stats, ...result } = await pullData(
        { ...pull, tunnel: host.tunnel(tunnel) },
        signal,
        (directory, progress) => send({ progress: { directory, ...progress }, done: undefined }),
      )
      send({ progress: undefined, done: { ...stats, ...result } })
    }),
    inspectData: unary(async (request: wire.InspectDataRequest) => {
      const { service, directories } = decode('inspectData', requests.inspectData, request)
      const inspected = await inspectData(service, directories)
      return {
        directories: inspected.map(({ path, state, changed }) => ({
          ...{ path, state, changed: changed.names, changedTotal: changed.total },
        })),
      }
    }),
    recordData: unary(async (request: wire.RecordDataRequest) => {
      const { service, directories, atUs } = decode('recordData', requests.recordData, request)
      const record = { state: 'verified', origin: 'served', atUs, doubtfulUs: null } as const
      await writeRecords(service, Object.fromEntries(directories.map((path) => [path, record])))
      return {}
    }),
    ...lockService(upkeep.lock),
    leave: unary(async (request: wire.LeaveRequest) => {
      const { generation } = decode('leave', requests.generation, request)
      const steps = await host.leave(generation)
      // The reply first.
      setImmediate(leave)
      return { steps: steps.map(describeStep) }
    }),
  }
}

/** A connection that is only held is told of as soon as it stands: it ends by itself when its time is over. */
async function probe(spec: ProbeSpec): Promise<ProbeResult> {
  if (!spec.connectOnly) return sendProbe(spec)
  const running = startProbe(spec)
  const connected = await running.connected
  if (connected === null) return running.result
  return { outcome: 'answered', bytes: 0, detail: 'the connection stands', ...connected }
}

/** A file that isn't there yet is empty. */
const withPresent = (files: readonly { path: string; content: string }[]): Promise<wire.PlannedFile[]> =>
  Promise.all(files.map(async (file) => ({ ...file, present: await readFile(file.path, 'utf8').catch(() => '') })))

function serviceOf(host: Host, request: { service: string }): ServiceSpec {
  const { service: name } = decode('service', requests.service, request)
  const service = host.spec?.services.find((each) => each.name === name)
  if (service) return service
  throw new FleetmoveError('invalid', { message: `this host has no service ${name}` })
}

const unary =
  <Q, R>(handle: (request: Q) => Promise<R>) =>
  (call: ServerUnaryCall<Q, R>, done: sendUnaryData<R>): void => {
    handle(call.request).then(
      (reply) => done(null, reply),
      (error) => done(errorToStatus(error)),
    )
  }

/** The call's own end, by either side, ends the work. */
const streaming =
  <Q, E>(handle: (request: Q, send: (event: E) => void, signal: AbortSignal) => Promise<void>) =>
  (call: ServerWritableStream<Q, E>): void => {
    const controller = new AbortController()
    call.on('cancelled', () => controller.abort())
    handle(call.request, (event) => void call.write(event), controller.signal).then(
      () => call.end(),
      (error) => call.emit('error', errorToStatus(error)),
    )
  }

const aborted = (signal: AbortSignal): Promise<void> =>
  signal.aborted
    ? Promise.resolve()
    : new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
