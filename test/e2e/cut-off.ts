/** Who is cut off because the drain's time is over, apart from who is refused or lost. */
import type { Event } from './practice.js'

/** The connections that the drain's end has found, by client, as the move tells; an event list of one move. */
export function leftOf(events: readonly Event[]): Map<string, number> {
  const end = events.find(({ type, what }) => type === 'end' && String(what).startsWith('drain on '))
  const clients = (end?.clients ?? []) as { client: string; connections: number }[]
  return new Map(clients.map(({ client, connections }) => [client, connections]))
}

/** How it looks to a client whose connection stood and was reset; PostgreSQL's clients have words of their own. */
export const cutOff =
  /^ECONNRESET$|^EPIPE$|^closed$|server closed the connection unexpectedly|Connection reset by peer|terminating connection due to administrator command/
