import type { JournalEntry } from './journal.js'

/** A verification takes no longer, and is noted when it is over. */
const verificationMs = 15_000

/** Our own probes arrive too, from addresses that true clients may share: only what came last at such a time is ours. */
export function isOwnProbe(entries: readonly JournalEntry[], client: string, lastSeen: number): boolean {
  return entries.some((entry) => {
    if (entry.type !== 'proof' || !entry.probers.includes(client)) return false
    const over = Date.parse(entry.at)
    return lastSeen >= over - verificationMs && lastSeen <= over + 1000
  })
}
