import fc from 'fast-check'
import { arrivalCurve } from '../../../../controller/plan/arrival-curve.js'
import { type ArrivalBucket, merged, shareOf, whenBelow } from '../../../../controller/plan/decay.js'

const minute = 60_000
const hour = 60 * minute

/** A share that halves every `halfMs` from 80 %, `perBucket` connections each `stepMs`, for `lengthMs`. */
const falling = (halfMs: number, lengthMs: number, perBucket: number, stepMs = minute): ArrivalBucket[] =>
  Array.from({ length: Math.floor(lengthMs / stepMs) }, (_, i) => {
    const atMs = (i + 1) * stepMs
    const old = Math.round(perBucket * 0.8 * 0.5 ** (atMs / halfMs))
    return { atMs, old, new: perBucket - old }
  })
/** When such a share reaches `target`. */
const truth = (halfMs: number, target: number): number => halfMs * Math.log2(0.8 / target)

it('foretells a share that halves every hour', () => {
  const estimate = whenBelow(falling(hour, 3 * hour, 1000), 0.01)
  if (estimate.kind !== 'expected') throw new Error(JSON.stringify(estimate))
  const right = truth(hour, 0.01)
  expect(Math.abs(estimate.atMs - right)).toBeLessThan(0.05 * right)
  expect(estimate.fromMs).toBeLessThanOrEqual(estimate.atMs)
  expect(estimate.toMs!).toBeGreaterThanOrEqual(estimate.atMs)
})

it('is less sure with fewer connections', () => {
  const width = (perBucket: number): number => {
    const estimate = whenBelow(falling(hour, 3 * hour, perBucket), 0.01)
    if (estimate.kind !== 'expected') throw new Error(JSON.stringify(estimate))
    return (estimate.toMs ?? Number.POSITIVE_INFINITY) - estimate.fromMs
  }
  expect(width(30)).toBeGreaterThan(width(3000))
})

it('says when it was reached, and no earlier than it stayed so', () => {
  const curve = [...falling(10 * minute, 3 * hour, 1000), { atMs: 4 * hour, old: 500, new: 500 }]
  expect(whenBelow(curve.slice(0, -1), 0.01)).toMatchObject({ kind: 'reached' })
  expect(whenBelow(curve, 0.01)).not.toMatchObject({ kind: 'reached' })
})

it('says so when it does not fall, or when too little was seen', () => {
  const level = Array.from({ length: 60 }, (_, i) => ({ atMs: (i + 1) * minute, old: 50, new: 50 }))
  expect(whenBelow(level, 0.01)).toEqual({ kind: 'not-falling' })
  expect(whenBelow([], 0.01)).toMatchObject({ kind: 'too-little' })
  expect(whenBelow([{ atMs: 1, old: 1, new: 1 }], 0.01)).toMatchObject({ kind: 'too-little' })
  // A half-life of a day can't be told from twenty minutes, as to when 1 % is reached.
  expect(whenBelow(falling(24 * hour, 20 * minute, 50), 0.01).kind).not.toBe('expected')
})

it('joins buckets until each has enough, and loses none but the last', () => {
  const buckets = [1, 2, 3, 4, 5].map((n) => ({ atMs: n, old: n, new: 0 }))
  expect(merged(buckets, 3)).toEqual([
    { atMs: 2, old: 3, new: 0 },
    { atMs: 3, old: 3, new: 0 },
    { atMs: 4, old: 4, new: 0 },
    { atMs: 5, old: 5, new: 0 },
  ])
})

it('never throws, and its ranges are in order', () => {
  const bucket = fc.record({ old: fc.nat(5000), new: fc.nat(5000) })
  fc.assert(
    fc.property(fc.array(bucket, { maxLength: 80 }), fc.constantFrom(0.01, 0.001, 0.5), (counts, target) => {
      const buckets = counts.map((each, i) => ({ atMs: (i + 1) * minute, ...each }))
      const estimate = whenBelow(buckets, target)
      if (estimate.kind !== 'expected') return
      expect(estimate.fromMs).toBeLessThanOrEqual(estimate.atMs)
      if (estimate.toMs !== null) expect(estimate.toMs).toBeGreaterThanOrEqual(estimate.atMs)
      expect(estimate.fromMs).toBeGreaterThanOrEqual(0)
      expect(shareOf(buckets.at(-1)!) ?? 1).toBeLessThanOrEqual(1)
    }),
  )
})

it('puts two hosts together by the minute', () => {
  const span = (from: number, to: number, forwarded: number, served: number) => ({
    ...{ from: from * minute, to: to * minute, forwarded, served },
  })
  const old = [span(0, 1, 0, 9), span(10, 11, 4, 1), span(11, 12, 0, 0)]
  const fresh = [span(10, 11, 0, 7), span(12, 16, 2, 0)]
  expect(arrivalCurve(old, fresh, 5 * minute)).toEqual([
    { atMs: 11 * minute, old: 5, new: 7 },
    { atMs: 15 * minute, old: 0, new: 2 },
  ])
})
