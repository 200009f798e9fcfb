/** Counts of new connections over time, kept small: the older they are, the longer the spans. Pure. */

/** New connections to one service by this host's address, within a span of time. */
export interface Arrived {
  service: string
  /** Milliseconds since 1970. */
  from: number
  to: number
  /** That went on into a tunnel, and that were answered here. */
  forwarded: number
  served: number
  /** The kernel's counters at the end of the span, from which the next one goes on. */
  total: { forwarded: number; served: number }
}

const second = 1000
const minute = 60 * second
const hour = 60 * minute
export const day = 24 * hour

/** Nothing older is kept. */
export const longest = 7 * day

/** What is older than `age` is summed up into spans of this length. Later entries are for older rows. */
type Thinning = readonly { age: number; span: number }[]

/** Tried in this order until what is left is small enough. */
const thinnings: readonly Thinning[] = [
  [
    { age: hour, span: minute },
    { age: day, span: 10 * minute },
  ],
  [
    { age: 10 * minute, span: minute },
    { age: 6 * hour, span: 10 * minute },
    { age: 2 * day, span: hour },
  ],
  [
    { age: minute, span: 10 * minute },
    { age: day, span: hour },
  ],
  [
    { age: minute, span: hour },
    { age: day, span: 6 * hour },
  ],
]

/**
 * Sums rows up until no more than `most` are left; if even that doesn't help, the oldest go.
 * @param rows in the order of their ends
 */
export function thin(rows: readonly Arrived[], now: number, most: number): Arrived[] {
  const recent = rows.filter((row) => row.to > now - longest)
  if (recent.length <= most) return recent
  for (const thinning of thinnings) {
    const thinned = sumUp(recent, now, thinning)
    if (thinned.length <= most) return thinned
  }
  return sumUp(recent, now, thinnings.at(-1)!).slice(-most)
}

function sumUp(rows: readonly Arrived[], now: number, thinning: Thinning): Arrived[] {
  const sums = new Map<string, Arrived>()
  for (const row of rows) {
    const span = thinning.findLast(({ age }) => row.to <= now - age)?.span
    // By their ends: neighbours that share a span follow each other, so no two sums overlap.
    const key =
      span === undefined ? `${row.service} at ${row.to}` : `${row.service} in ${Math.ceil(row.to / span)} of ${span}`
    const sum = sums.get(key)
    if (sum === undefined) sums.set(key, { ...row })
    else {
      sum.to = row.to
      sum.forwarded += row.forwarded
      sum.served += row.served
      sum.total = row.total
    }
  }
  return [...sums.values()].sort((a, b) => a.to - b.to)
}
