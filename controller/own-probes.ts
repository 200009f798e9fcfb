import type { JournalEntry } from './journal.js'

/** Where an entry doesn't say how long it took. */
const verificationMs = 15_000
/** Between the arrival and its note there are the way back and, in lists, whole seconds. */
const slackMs = 1000

/** Our own probes arrive too, from addresses that true clients may share: only what came last at such a time is ours. */
export function isOwnProbe(entries: readonly JournalEntry[], client: string, lastSeen: number): boolean {
  return entries.some((entry) => {
    if (entry.type !== 'proof' || !entry.probers.includes(client)) return false
    const over = Date.parse(entry.at)
    return lastSeen >= over - (entry.tookMs ?? verificationMs) - slackMs && lastSeen <= over + slackMs
  })
}
