/**
 * How long connections have stood, as far as that can be known. Connection tracking notes when each was opened
 * only where somebody asked for it (nf_conntrack_timestamp); else there is what the socket says of its last
 * bytes, and when this agent saw the connection first.
 */
import type { Ip } from '../../proto/model/address.js'

/** One that stands now. */
export interface Standing {
  client: Ip
  /** Tells it from a later one of the same addresses and ports. */
  id: string
  /** Addresses and ports of the socket that answers it here, if one does. */
  socket: string
  /** When it was opened, in ms since 1970; null where nobody noted that. */
  opened: number | null
}

export interface Oldest {
  client: Ip
  ageMs: number
  /** False: it is at least that old. */
  exact: boolean
}

/** Sockets are asked so often: they tell little that the last answer and the clock don't. */
const askAgainMs = 5000

/** Remembers, for each service, since when at the latest its connections stand. */
export class KnownAges {
  private readonly services = new Map<string, { since: Map<string, number>; asked: number }>()

  /** @param leastAges by `socket`, how long each socket has stood at least, in ms; called rarely */
  async oldest(
    service: string,
    standing: readonly Standing[],
    leastAges: () => Promise<ReadonlyMap<string, number>>,
    now = Date.now(),
  ): Promise<Oldest | undefined> {
    const before = this.services.get(service) ?? { since: new Map(), asked: Number.NEGATIVE_INFINITY }
    const ask = now - before.asked >= askAgainMs && standing.some(({ opened }) => opened === null)
    const ages = ask ? await leastAges() : undefined
    const known = { since: new Map<string, number>(), asked: ask ? now : before.asked }
    let oldest: Oldest | undefined
    for (const { client, id, socket, opened } of standing) {
      const since = opened ?? Math.min(before.since.get(id) ?? now, now - (ages?.get(socket) ?? 0))
      if (opened === null) known.since.set(id, since)
      const ageMs = Math.max(0, now - since)
      if (!oldest || ageMs > oldest.ageMs) oldest = { client, ageMs, exact: opened !== null }
    }
    if (standing.length > 0) this.services.set(service, known)
    else this.services.delete(service)
    return oldest
  }
}
