import type { StatusReply } from '../proto/gen/fleetmove.js'
import type { Agent } from './agents/agent.js'
import type { JournalEntry } from './journal.js'

/** Where an entry doesn't say how long it took. */
const verificationMs = 15_000
/** Between the arrival and its note there are the way back and, in lists, whole seconds. */
const slackMs = 1000

/** When an agent was asked for its arrivals, and when it had answered; epoch milliseconds of our own clock. */
export interface Asked {
  from: number
  to: number
}

/**
 * Our own probes arrive too, from addresses that true clients may share: only what came last at such a time is ours.
 * An agent tells how long ago that was, at some moment between the question and its answer.
 */
export function isOwnProbe(
  entries: readonly JournalEntry[],
  client: string,
  lastSeenMsAgo: number,
  asked: Asked,
): boolean {
  return entries.some((entry) => {
    if (entry.type !== 'proof' || !entry.probers.includes(client)) return false
    const over = Date.parse(entry.at)
    const begun = over - (entry.tookMs ?? verificationMs)
    return asked.to - lastSeenMsAgo >= begun - slackMs && asked.from - lastSeenMsAgo <= over + slackMs
  })
}

/** The agent's status whose arrivals are those of clients. @param entries of the journal */
export async function statusOfClients(
  agent: Agent,
  maxArrivals: number,
  entries: readonly JournalEntry[],
): Promise<StatusReply> {
  const from = Date.now()
  const status = await agent.status(maxArrivals)
  const asked = { from, to: Date.now() }
  const services = status.services.map((service) => ({
    ...service,
    arrivals: service.arrivals.filter((each) => !isOwnProbe(entries, each.client, each.lastSeenMsAgo, asked)),
  }))
  return { ...status, services }
}
