/** Forgets the UDP flows of a service that go another way than the rules say now. */
import { setTimeout as delay } from 'node:timers/promises'
import type { ServiceSpec } from '../../proto/model/host-spec.js'
import type { Conntrack, ConntrackEntry } from '../kernel/conntrack.js'
import { loadText, readCounter } from '../kernel/nft.js'
import { lateCounter, table } from '../plan/own.js'
import { hasProtocol, routeOf, wayOf } from './service-flows.js'

/** How long a server's answers to forgotten flows still find their way. A resolver asks for up to 5 s (resolv.conf(5)). */
const guardSeconds = 10
/** Without a late answer for this long there are none any more, as far as anybody can tell. */
const quietMs = 1000
const pollMs = 100
/** Elements in one line of a script. */
const batch = 500

export interface PurgeOptions {
  /** For the file that nft reads, which exists only meanwhile. */
  runDirectory: string
  /** Resolve only when the servers' late answers have come: before a server is stopped. */
  settle: boolean
}

/**
 * Deletes the entries of the service's UDP listeners that lead elsewhere than the rules, so that each
 * flow's next datagram is dispatched anew: a flow keeps its old translation for as long as it talks. To
 * be called after the rules are changed. Answers that are under way then pass untracked, and leave as
 * their flow would have sent them.
 *
 * What came out of a tunnel stays: its answers need its mark, and new datagrams come another way.
 * @returns how many were deleted
 */
export async function purgeUdp(conntrack: Conntrack, service: ServiceSpec, options: PurgeOptions): Promise<number> {
  if (!hasProtocol(service, 'udp')) return 0
  const doomed: ConntrackEntry[] = []
  for (const family of [4, 6] as const) {
    await conntrack.walk({ family, protocol: 'udp' }, (entry) => {
      if (isAstray(service, entry)) doomed.push(entry)
    })
  }
  for (let start = 0; start < doomed.length; start += batch) {
    await loadText(options.runDirectory, guardText(doomed.slice(start, start + batch)))
  }
  let deleted = 0
  for (const entry of doomed) {
    if (await conntrack.delete(entry)) deleted += 1
  }
  if (options.settle) await untilQuiet()
  return deleted
}

/** Whether a flow goes another way than the rules that stand now would send it. */
export function isAstray(service: ServiceSpec, entry: ConntrackEntry): boolean {
  const action = routeOf(service, entry)?.action
  const { way, tunnel } = wayOf(entry.mark)
  if (!action || way === 'from') return false
  if (action.kind === 'serve') return way === 'into'
  if (action.kind === 'forward') {
    return way === 'direct' || tunnel !== action.tunnel || entry.reply.source !== action.to
  }
  // Some one way and some the other: what is right already is dispatched as before.
  return true
}

/** Keys are the answers' own: from, port, to, port. */
export function guardText(entries: readonly ConntrackEntry[]): string {
  const lines: string[] = []
  // An element that is there already keeps its old time; so it is added, deleted and added.
  const renew = (set: string, key: string, value: string): void => {
    const name = `inet ${table} ${set}`
    const added = `add element ${name} { ${key} timeout ${guardSeconds}s${value} }`
    lines.push(added, `delete element ${name} { ${key}${value} }`, added)
  }
  for (const { family, original, reply } of entries) {
    const rest = `${reply.destination} . ${reply.destinationPort}`
    const key = `${reply.source} . ${reply.sourcePort} . ${rest}`
    if (reply.source !== original.destination) renew(`late-address${family}`, key, ` : ${original.destination}`)
    if (reply.sourcePort !== original.destinationPort) {
      // By then the address is changed.
      const changed = `${original.destination} . ${reply.sourcePort} . ${rest}`
      renew(`late-port${family}`, changed, ` : ${original.destinationPort}`)
    }
    renew(`late${family}`, key, '')
  }
  return `${lines.join('\n')}\n`
}

async function untilQuiet(): Promise<void> {
  const end = performance.now() + guardSeconds * 1000
  let last = await readCounter(lateCounter)
  let since = performance.now()
  while (performance.now() < end && performance.now() - since < quietMs) {
    await delay(pollMs)
    const now = await readCounter(lateCounter)
    if (now !== last) [last, since] = [now, performance.now()]
  }
}
