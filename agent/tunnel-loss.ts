/** How a tunnel carries small packets now: a few questions to its other end, each with one answer or none. */
import { execFile } from 'node:child_process'
import type { TunnelSpec } from '../proto/model/host-spec.js'
import { askByTcp } from './reach.js'

export interface TunnelLoss {
  sent: number
  lost: number
  /** The median of those that were answered; 0 when none was. */
  rttMs: number
}

const questions = 5
/** Below a second: then the kernel sends a SYN again, and the loss of the first would not show. */
const waitMs = 900

/** By TCP; by ping(8) where a firewall swallows that. Takes as long as the slowest answer, at most two seconds. */
export async function measureLoss(tunnel: TunnelSpec): Promise<TunnelLoss> {
  const answers = await Promise.allSettled(Array.from({ length: questions }, () => askByTcp(tunnel, waitMs)))
  const times = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
  if (times.length === 0) times.push(...(await pings(tunnel)))
  times.sort((a, b) => a - b)
  return { sent: questions, lost: questions - times.length, rttMs: times[times.length >> 1] ?? 0 }
}

/** Round trips in ms, as `64 bytes from …: icmp_seq=1 ttl=64 time=0.045 ms` tells them. */
function pings(tunnel: TunnelSpec): Promise<number[]> {
  const argv = ['-n', '-c', String(questions), '-i', '0.2', '-W', '1', '-I', tunnel.local4, tunnel.peer4]
  return new Promise((resolve) => {
    // An exit code of its own says that some were lost.
    execFile('ping', argv, { timeout: 2 * waitMs }, (_error, stdout) =>
      resolve([...stdout.matchAll(/ time=([\d.]+) ms/g)].slice(0, questions).map((match) => Number(match[1]))),
    )
  })
}
