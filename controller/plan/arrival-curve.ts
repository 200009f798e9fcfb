/** From what two hosts have written down to one curve. */
import type { ArrivalBucket } from './decay.js'

/** Connections by one host's address within a span of time (ms since 1970). */
export interface ArrivalSpan {
  readonly from: number
  readonly to: number
  readonly forwarded: number
  readonly served: number
}

const minuteMs = 60_000

/**
 * Minutes in which somebody came, oldest first. A longer span counts in the minute of its middle.
 * @param sinceMs what ended before is left away
 */
export function arrivalCurve(
  old: readonly ArrivalSpan[],
  fresh: readonly ArrivalSpan[],
  sinceMs: number,
): ArrivalBucket[] {
  const minutes = new Map<number, { old: number; new: number }>()
  const add = (spans: readonly ArrivalSpan[], side: 'old' | 'new'): void => {
    for (const { from, to, forwarded, served } of spans) {
      if (to <= sinceMs || forwarded + served === 0) continue
      const minute = Math.floor((from + to) / 2 / minuteMs)
      const known = minutes.get(minute) ?? { old: 0, new: 0 }
      known[side] += forwarded + served
      minutes.set(minute, known)
    }
  }
  add(old, 'old')
  add(fresh, 'new')
  return [...minutes]
    .sort(([a], [b]) => a - b)
    .map(([minute, counts]) => ({ atMs: (minute + 1) * minuteMs, ...counts }))
}
