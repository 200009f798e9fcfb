/** Lets the kernel tell what its rules do with one client's packets: one trace at a time on a host. */
import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { FleetmoveError } from '../../proto/model/error.js'
import { startBound } from '../data/bound-process.js'
import { loadText } from '../kernel/nft.js'
import { paths } from '../plan/own.js'
import { parseTraceLine, type TraceHop } from './parse-trace.js'
import { removeTrace, type TraceQuery, traceRuleset } from './trace-rules.js'

export interface TraceOptions extends TraceQuery {
  forMs: number
  signal: AbortSignal
  onReady: () => void
  onHop: (hop: TraceHop) => void
}

const patienceMs = 2000

/** Enough for twenty packets through fifty chains. */
const mostHops = 2000

export class Traces {
  private running: { stop: AbortController; ended: Promise<void> } | undefined

  /**
   * Resolves when the trace is over: after `forMs`, or when `signal` says so.
   * @param busy why there can be none now
   * @throws FleetmoveError 'conflict' while another one runs, 'kernel' where the kernel can't trace
   */
  async run(options: TraceOptions, busy: string | undefined): Promise<void> {
    // One that was cancelled a moment ago is about to end.
    await Promise.race([this.running?.ended, delay(patienceMs, undefined, { ref: false })])
    const reason = this.running ? 'another trace is running' : busy
    if (reason !== undefined)
      throw new FleetmoveError('conflict', { message: `no trace now: ${reason}`, hint: 'try again in a moment' })
    const stop = new AbortController()
    const ended = trace({ ...options, signal: AbortSignal.any([options.signal, stop.signal]) })
    this.running = { stop, ended: ended.catch(() => {}) }
    try {
      await ended
    } finally {
      this.running = undefined
    }
  }

  /**
   * Ends one that runs. To be called before packets are queued: when a base chain is deleted anywhere in the
   * network namespace, the kernel drops what waits in its queues (nf_queue_nf_hook_drop).
   */
  async stop(): Promise<void> {
    this.running?.stop.abort()
    await this.running?.ended
  }
}

/** What a killed agent has left. */
export const clearTrace = (): Promise<void> => loadText(paths.run, removeTrace)

async function trace({ signal, forMs, onReady, onHop, ...query }: TraceOptions): Promise<void> {
  let rest = ''
  let hops = 0
  let words = ''
  const listeners = await traceListeners()
  const monitor = startBound({
    argv: ['nft', '-nn', 'monitor', 'trace'],
    directory: '',
    onOutput: (text) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop()!
      for (const line of lines) {
        const hop = parseTraceLine(line)
        if (hop && ++hops <= mostHops) onHop(hop)
      }
    },
    onComplaint: (text) => {
      words = (words + text).slice(-300)
    },
  })
  const failed = monitor.exit.then((code) => {
    throw new FleetmoveError('kernel', {
      message: `nft monitor trace ended: ${words.trim() || `exit code ${code}`}`,
      hint: 'check on the host that `nft monitor trace` works',
    })
  })
  // Its end after ours is no failure.
  failed.catch(() => {})
  try {
    await Promise.race([failed, listening(listeners)])
    await loadText(paths.run, traceRuleset(query))
    onReady()
    await Promise.race([failed, delay(forMs, undefined, { signal }).catch(() => {})])
  } finally {
    await clearTrace()
    await monitor.end()
  }
}

const listeningMs = 3000
const pollMs = 10

/** nft doesn't say when it listens; a packet before that would go by untold. */
async function listening(before: number): Promise<void> {
  const deadline = performance.now() + listeningMs
  while ((await traceListeners()) <= before) {
    if (performance.now() > deadline) {
      throw new FleetmoveError('kernel', {
        message: 'nft monitor trace does not begin to listen',
        hint: 'check on the host that `nft monitor trace` works',
      })
    }
    await delay(pollMs)
  }
}

/** NETLINK_NETFILTER, and the bit of NFNLGRP_NFTRACE (9): linux/netlink.h, linux/netfilter/nfnetlink.h */
const [netfilter, traceGroup] = ['12', 1 << 8]

async function traceListeners(): Promise<number> {
  const lines = (await readFile('/proc/net/netlink', 'utf8')).split('\n')
  return lines.filter((line) => {
    const [, protocol, , groups] = line.trim().split(/\s+/)
    return protocol === netfilter && (Number.parseInt(groups ?? '0', 16) & traceGroup) !== 0
  }).length
}
