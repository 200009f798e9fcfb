/** Does the other end of a tunnel answer? Asked of its tunnel address, which is reached by the tunnel alone. */
import { execFile } from 'node:child_process'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { TunnelSpec } from '../proto/model/host-spec.js'

export interface Reach {
  up: boolean
  /** Of the round trip that answered; 0 when none did. */
  rttMs: number
  detail: string
}

/** Nobody listens on discard (RFC 863) nowadays; a refusal is as good an answer as an acceptance. */
const port = 9
const tryMs = 1000

/** Asks until an answer comes or the time is over. */
export async function awaitPeer(tunnel: TunnelSpec, timeoutMs: number): Promise<Reach> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const left = deadline - performance.now()
    const reach = await askPeer(tunnel, Math.max(100, Math.min(tryMs, left)))
    if (reach.up || performance.now() >= deadline) return reach
    await delay(50)
  }
}

/** Asks once, in two ways at the same time: a firewall may swallow one of them. */
export async function askPeer(tunnel: TunnelSpec, timeoutMs: number): Promise<Reach> {
  const answers = [askByTcp(tunnel, timeoutMs), byPing(tunnel, timeoutMs)]
  try {
    return { up: true, rttMs: await Promise.any(answers), detail: '' }
  } catch (error) {
    const reasons = (error as AggregateError).errors.map((each: Error) => each.message)
    return { up: false, rttMs: 0, detail: `${tunnel.peer4} doesn't answer (${reasons.join('; ')})` }
  }
}

/** Resolves with the round trip in ms; rejects when nothing answers in time. */
export function askByTcp(tunnel: TunnelSpec, timeoutMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const begun = performance.now()
    const socket = connect({ host: tunnel.peer4, port, localAddress: tunnel.local4, timeout: timeoutMs })
    const answered = (): void => {
      socket.destroy()
      resolve(performance.now() - begun)
    }
    socket.on('connect', answered)
    socket.on('timeout', () => {
      socket.destroy()
      reject(new Error('TCP timed out'))
    })
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNREFUSED' ? answered() : reject(new Error(`TCP ${error.code}`)),
    )
  })
}

/** Resolves with the round trip in ms, with the start of the program; rejects when no echo comes in time. */
export function byPing(tunnel: TunnelSpec, timeoutMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const begun = performance.now()
    // Whole seconds are what every ping(8) takes; the time limit below is the real one.
    const argv = ['-n', '-c', '1', '-W', '1', '-I', tunnel.local4, tunnel.peer4]
    execFile('ping', argv, { timeout: timeoutMs }, (error) =>
      error ? reject(new Error('no echo')) : resolve(performance.now() - begun),
    )
  })
}
