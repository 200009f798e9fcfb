/** The Agent interface over gRPC. */
import { type ClientReadableStream, InterceptingCall, type Interceptor, type ServiceError, status } from '@grpc/grpc-js'
import { decodeHostSpec, encodeHostSpec } from '../../proto/codec.js'
import { errorFromStatus } from '../../proto/error-wire.js'
import {
  AgentClient,
  AgentService,
  type DataResult,
  type PullDataEvent,
  type ServeDataEvent,
} from '../../proto/gen/fleetmove.js'
import { lockHeader } from '../../proto/lock-header.js'
import type { Name } from '../../proto/model/names.js'
import type { AgentChannel } from '../bootstrap/channel.js'
import type { Agent, Running } from './agent.js'
import { AgentGone } from './agent-gone.js'
import { holdLock } from './hold-lock.js'

interface Method<Q, R> {
  path: string
  requestSerialize(value: Q): Buffer
  responseDeserialize(bytes: Buffer): R
}

/** The last part of `/fleetmove.v1.Agent/Apply`. */
const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1)

const bearing =
  (lockId: () => string): Interceptor =>
  (options, next) =>
    new InterceptingCall(next(options), {
      start: (metadata, listener, start) => {
        if (lockId() !== '') metadata.set(lockHeader, lockId())
        start(metadata, listener)
      },
    })

/** Around every call, unary or streaming: nothing goes to the host before it was told. */
const telling =
  (call: (name: string) => (failed: boolean) => void): Interceptor =>
  (options, next) => {
    const over = call(nameOf(options.method_definition.path))
    return new InterceptingCall(next(options), {
      // What isn't named here is passed on as it comes.
      start: (metadata, _listener, start) =>
        start(metadata, {
          onReceiveStatus: (ended, pass) => {
            // A stream is ended by us when its work is done.
            over(ended.code !== status.OK && ended.code !== status.CANCELLED)
            pass(ended)
          },
        }),
    })
  }

export interface CallOptions {
  /** Of this run's lock on the host, '' while there is none; asked anew for each call. */
  lockId: () => string
  /** Told of each call before it is sent; what it returns, when that call is over. */
  call: (name: string) => (failed: boolean) => void
}

export interface GrpcAgent extends Agent {
  close(): Promise<void>
}

/** How long a call without a time of its own may take: the agent's own steps have shorter limits. */
const callMs = 60_000
/** Looking through a directory of millions of files on a slow disk. */
const inspectMs = 900_000
/** Whoever watches wants to be told soon that nothing comes. */
const pulseMs = 5000
/** On top of a call's own time: for the way there and back. */
const graceMs = 10_000

export function grpcAgent(host: Name, channel: AgentChannel, { lockId, call }: CallOptions): GrpcAgent {
  const interceptors = [telling(call), bearing(lockId)]
  const client = new AgentClient(channel.address, channel.credentials, { ...channel.options, interceptors })
  // At once, and not with the first call: an agent ends a connection by which nobody answers its pings for half a
  // minute, and the first call may have to wait for hosts that are slower to install.
  client.getChannel().getConnectivityState(true)
  const fail = (error: ServiceError, call: string): Error => {
    const known = errorFromStatus(error, host, call)
    return known.code === 'unreachable' ? (channel.failure() ?? new AgentGone(known)) : known
  }

  /** One request, one reply. */
  const ask = <Q, R>(method: Method<Q, R>, request: Q, ms = callMs): Promise<R> =>
    new Promise((resolve, reject) => {
      const { path, requestSerialize, responseDeserialize } = method
      const options = { deadline: Date.now() + ms * channel.slowness }
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, options, (error, reply) => {
        if (error || reply === undefined) reject(fail(error as ServiceError, nameOf(path)))
        else resolve(reply)
      })
    })

  /** A stream whose first event says that the work on the host has begun. */
  const follow = <E extends { ready: boolean }>(
    call: string,
    stream: ClientReadableStream<E>,
    onEvent: (event: E) => void,
  ): Promise<Running> =>
    new Promise((resolve, reject) => {
      const running = { stop: () => stream.cancel() }
      stream.on('data', (event: E) => {
        if (!event.ready) return onEvent(event)
        resolve(running)
      })
      // After a stop this is our own cancellation, and the promise is settled.
      stream.on('error', (error) => reject(fail(error as ServiceError, call)))
    })

  return {
    host,
    slowness: channel.slowness,
    hello: async () => {
      const reply = await ask(AgentService.hello, {})
      return {
        version: reply.version,
        hostname: reply.hostname,
        confirmed: reply.confirmed ? decodeHostSpec(reply.confirmed) : null,
        trial: reply.trial ? decodeHostSpec(reply.trial) : null,
        trialRemainingMs: reply.trialRemainingMs,
        generation: reply.generation,
        gaps: reply.gaps,
      }
    },
    identity: async (kind) => (await ask(AgentService.identity, { kind })).identity,
    reflect: (port, token) => follow('Reflect', client.reflect({ port, token: Buffer.from(token) }), () => {}),
    measurePath: (request) => ask(AgentService.measurePath, request, request.timeoutMs + graceMs),
    plan: (spec, before) =>
      ask(AgentService.plan, { spec: encodeHostSpec(spec), before: before && encodeHostSpec(before) }),
    apply: (spec, confirmWithinMs) => ask(AgentService.apply, { spec: encodeHostSpec(spec), confirmWithinMs }),
    confirm: async (generation) => void (await ask(AgentService.confirm, { generation })),
    revert: async (generation) => (await ask(AgentService.revert, { generation })).steps,
    awaitTunnel: (tunnel, timeoutMs) => ask(AgentService.awaitTunnel, { tunnel, timeoutMs }, timeoutMs + graceMs),
    status: (maxArrivals) => ask(AgentService.status, { maxArrivals }),
    pulse: () => ask(AgentService.pulse, {}, pulseMs),
    history: async () => (await ask(AgentService.history, {})).rows,
    witness: (ports, tokens, onReceipt) =>
      follow('Witness', client.witness({ ports, tokens: tokens.map((t) => Buffer.from(t)) }), (event) => {
        if (event.receipt) onReceipt(event.receipt)
      }),
    probe: (request) => ask(AgentService.probe, request, request.timeoutMs + request.holdMs + graceMs),
    relay: (request) => ask(AgentService.relay, request, request.timeoutMs + graceMs),
    findFlow: (request) => ask(AgentService.findFlow, request, request.timeoutMs + graceMs),
    trace: (request, onHop) =>
      follow('Trace', client.trace(request), (event) => {
        if (event.hop) onHop(event.hop)
      }),
    lifecycle: (request) => ask(AgentService.lifecycle, request, request.timeoutMs + graceMs),
    health: (request) => ask(AgentService.health, request, request.timeoutMs + graceMs),
    drain: (service, addresses, withinMs) =>
      ask(AgentService.drain, { service, addresses: [...addresses], withinMs }, callMs + withinMs),
    gap: (request, withinMs = 0) =>
      ask(
        AgentService.gap,
        { plan: undefined, forMs: 0, flag: false, outcome: '', ...request },
        withinMs > 0 ? withinMs + graceMs : callMs,
      ),
    settle: async (service) => (await ask(AgentService.settle, { service })).openings,
    outcomes: (service) => ask(AgentService.outcomes, { service }),
    reset: async (service) => (await ask(AgentService.reset, { service })).connections,
    purgeUdp: async (service, settle) => (await ask(AgentService.purgeUdp, { service, settle })).flows,
    serveData: (request) =>
      new Promise((resolve, reject) => {
        const stream = client.serveData(request)
        stream.on('data', ({ ready, ...access }: ServeDataEvent) => {
          if (ready) resolve({ access, stop: () => stream.cancel() })
        })
        stream.on('error', (error) => reject(fail(error as ServiceError, 'ServeData')))
      }),
    pullData: (request, onProgress) =>
      new Promise((resolve, reject) => {
        const stream = client.pullData(request)
        let result: DataResult | undefined
        stream.on('data', ({ progress, done }: PullDataEvent) => {
          if (progress) onProgress(progress)
          result = done ?? result
        })
        stream.on('error', (error) => reject(fail(error as ServiceError, 'PullData')))
        stream.on('end', () => {
          if (result) resolve(result)
        })
      }),
    inspectData: async (service, directories) =>
      (await ask(AgentService.inspectData, { service, directories: [...directories] }, inspectMs)).directories,
    recordData: async (service, directories, atUs) =>
      void (await ask(AgentService.recordData, { service, directories: [...directories], atUs })),
    lock: (request) => holdLock(client, request, (error) => fail(error, 'Lock')),
    unlock: (id) => ask(AgentService.unlock, { id }),
    leave: async (generation) => (await ask(AgentService.leave, { generation })).steps,
    close: async () => {
      client.close()
      await channel.close()
    },
  }
}
