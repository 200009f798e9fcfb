/** Counts of spans of different lengths → columns of one length, for a chart. Pure. */

/** Milliseconds since 1970; connections by this host's address that were forwarded, and that were answered there. */
export interface ArrivalRow {
  service: string
  from: number
  to: number
  forwarded: number
  served: number
}

export interface Buckets {
  /** Milliseconds since 1970; the first column begins here. */
  start: number
  bucketMs: number
  /** Connections in each column by the old hosts' addresses, and by the new ones'. */
  old: number[]
  new: number[]
}

const [second, minute, hour, day] = [1000, 60_000, 3_600_000, 86_400_000]
const lengths = [
  ...[1, 2, 5, 10, 30].map((n) => n * second),
  ...[1, 2, 5, 10, 30].map((n) => n * minute),
  ...[1, 2, 6, 12].map((n) => n * hour),
  day,
]

/** The shortest round length of which no more than `most` fill the time. */
export const bucketLength = (ms: number, most: number): number =>
  lengths.find((length) => ms / length <= most) ?? Math.ceil(ms / most / day) * day

/** Rows by the old host's address and by the new one's; a span that covers several columns is spread evenly. */
export function buckets(
  rows: { old: readonly ArrivalRow[]; new: readonly ArrivalRow[] },
  from: number,
  to: number,
  most: number,
): Buckets {
  const bucketMs = bucketLength(to - from, most)
  const start = Math.floor(from / bucketMs) * bucketMs
  const count = Math.max(1, Math.ceil((to - start) / bucketMs))
  const fill = (own: readonly ArrivalRow[]): number[] => {
    const columns = new Array<number>(count).fill(0)
    for (const row of own) {
      const length = Math.max(1, row.to - row.from)
      const first = Math.max(0, Math.floor((row.from - start) / bucketMs))
      for (let i = first; i < count && start + i * bucketMs < row.to; i++) {
        const begin = Math.max(row.from, start + i * bucketMs)
        const end = Math.min(row.to, start + (i + 1) * bucketMs)
        columns[i]! += ((row.forwarded + row.served) * Math.max(0, end - begin)) / length
      }
    }
    return columns
  }
  return { start, bucketMs, old: fill(rows.old), new: fill(rows.new) }
}

export const totalOf = (rows: readonly ArrivalRow[]): number =>
  rows.reduce((sum, { forwarded, served }) => sum + forwarded + served, 0)
