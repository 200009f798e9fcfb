/** Whether a service answers on this host: asked again and again until it does, or its time is up. */
import { get as getHttp } from 'node:http'
import { get as getHttps } from 'node:https'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { hostPort, type Ip } from '../proto/model/address.js'
import type { Name } from '../proto/model/names.js'
import { type CommandEnd, runShell } from './lifecycle.js'

export type HealthCheck =
  /** `from`: the tunnel's own address, whose connections aren't forwarded to the peer. */
  | { kind: 'tcp'; address: Ip; port: number; from?: Ip | undefined }
  /** Healthy with a status of 200 to 399; redirections are not followed. */
  | { kind: 'http'; url: string }
  /** Healthy with exit code 0. */
  | { kind: 'command'; command: string }

export interface Health {
  healthy: boolean
  /** The last failure, or what the service said. */
  detail: string
}

/** Between two tries: clients may be waiting, so the first follow at once. */
const firstRetryMs = 5
const longestRetryMs = 200
/** A try that begins with less than this left would only hide what the one before it said. */
const leastTryMs = 100
/** Of one try: a service that takes longer to answer isn't fit to be switched to. */
const longestTry = 5000

/** Tries until healthy, or until `timeoutMs` is over; at least once. */
export async function awaitHealthy(
  service: Name,
  check: HealthCheck,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<Health> {
  const deadline = performance.now() + timeoutMs
  let retryMs = firstRetryMs
  for (let tries = 1; ; tries++) {
    const left = deadline - performance.now()
    const health = await tryOnce(service, check, Math.max(1, Math.ceil(Math.min(longestTry, left))), signal)
    if (health.healthy) return health
    if (signal?.aborted || performance.now() + retryMs + leastTryMs >= deadline) {
      return {
        healthy: false,
        detail: `${health.detail} (${tries} ${tries === 1 ? 'try' : 'tries'} in ${timeoutMs} ms)`,
      }
    }
    // An abort ends the wait; what it says is the last failure.
    await delay(retryMs, undefined, signal ? { signal } : {}).catch(() => {})
    retryMs = Math.min(longestRetryMs, retryMs * 1.5)
  }
}

async function tryOnce(service: Name, check: HealthCheck, limit: number, signal?: AbortSignal): Promise<Health> {
  switch (check.kind) {
    case 'tcp':
      return tryTcp(check, limit)
    case 'http':
      return tryHttp(check.url, limit)
    case 'command':
      return tryCommand(service, check.command, limit, signal)
  }
}

function tryTcp({ address, port, from }: Extract<HealthCheck, { kind: 'tcp' }>, limit: number): Promise<Health> {
  const target = hostPort(address, port)
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, ...(from ? { localAddress: from } : {}) })
    const end = (healthy: boolean, detail: string): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ healthy, detail })
    }
    const timer = setTimeout(() => end(false, `${target} did not answer within ${limit} ms`), limit)
    socket.once('connect', () => end(true, `${target} takes connections`))
    socket.once('error', (error: NodeJS.ErrnoException) =>
      end(false, error.code === 'ECONNREFUSED' ? `${target} refuses connections` : `${target}: ${error.message}`),
    )
  })
}

/** All checks at once, told as the end of a command is. */
export async function awaitAllHealthy(
  service: Name,
  checks: readonly HealthCheck[],
  withinMs: number,
): Promise<CommandEnd> {
  const results = await Promise.all(checks.map((check) => awaitHealthy(service, check, withinMs)))
  const failed = results.find(({ healthy }) => !healthy)
  return { ok: !failed, ended: failed ? 'not healthy' : '0', output: failed?.detail ?? '' }
}

/**
 * Not by fetch: it refuses ports that browsers find unsafe (25, 6000, …), and keeps its connection,
 * which would then count as a client's when the service is drained.
 */
function tryHttp(url: string, limit: number): Promise<Health> {
  const get = url.startsWith('https:') ? getHttps : getHttp
  return new Promise((resolve) => {
    const end = (healthy: boolean, detail: string): void => {
      clearTimeout(timer)
      resolve({ healthy, detail: `${url} ${detail}` })
      request.destroy()
    }
    // The question is whether the service answers; its certificate is for another name than 127.0.0.1.
    const request = get(url, {
      agent: false,
      rejectUnauthorized: false,
      headers: { 'user-agent': 'fleetmove' },
      // What comes from 127.0.0.1 may be forwarded to the peer (localhost: true).
      ...(new URL(url).hostname.startsWith('127.') ? { localAddress: '127.0.0.2' } : {}),
    })
    const timer = setTimeout(() => end(false, `did not answer within ${limit} ms`), limit)
    request.on('error', (error) => end(false, `can't be asked: ${error.message}`))
    request.once('response', (response) => {
      const code = response.statusCode ?? 0
      const reason = response.statusMessage ? ` ${response.statusMessage}` : ''
      // Read to its end, so that the service logs no broken request.
      response.resume()
      response.once('error', (error) => end(false, `broke its answer: ${error.message}`))
      response.once('end', () => end(code >= 200 && code < 400, `answered ${code}${reason}`))
    })
  })
}

async function tryCommand(service: Name, command: string, limit: number, signal?: AbortSignal): Promise<Health> {
  const environment = { FLEETMOVE_SERVICE: service }
  const options = { timeoutMs: limit, environment, ...(signal ? { signal } : {}) }
  const { ok, ended, output } = await runShell(command, `${service}-health`, options)
  const why = ended === 'timeout' ? `did not end within ${limit} ms` : `ended with ${ended}`
  return { healthy: ok, detail: `the health command ${why}${output === '' ? '' : `: ${output}`}` }
}
