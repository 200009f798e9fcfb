/**
 * How the share of connections by the old address falls, and when it will have fallen far enough. Caches
 * that ignore the time to live, and clients that know the address by heart, go one by one: their number
 * halves about every so often, slower and slower. So the recent part of the curve is what is drawn on, and
 * the answer is a range.
 */

/** Connections opened within an interval that ends at `atMs`. */
export interface ArrivalBucket {
  readonly atMs: number
  readonly old: number
  readonly new: number
}

export type Estimate =
  | { readonly kind: 'reached'; readonly atMs: number }
  /** 95 % of lines that fit as well meet the target between these two. */
  | { readonly kind: 'expected'; readonly fromMs: number; readonly atMs: number; readonly toMs: number | null }
  /** The curve isn't falling, or not clearly. */
  | { readonly kind: 'not-falling' }
  | { readonly kind: 'too-little'; readonly why: string }

/** Fewer can't tell a curve from chance. */
const fewestBuckets = 4
const fewestConnections = 40
/** Beyond four times what was seen a line says nothing. */
const furthest = 4
/** Two-sided 95 % of the normal distribution. */
const z95 = 1.96

/** Share by the old address, 0 to 1; null where nobody came. */
export const shareOf = ({ old, new: fresh }: ArrivalBucket): number | null =>
  old + fresh === 0 ? null : old / (old + fresh)

/** Joins neighbours until each has `fewest` connections: single minutes of a small service are noise. */
export function merged(buckets: readonly ArrivalBucket[], fewest: number): ArrivalBucket[] {
  const result: ArrivalBucket[] = []
  let open = { old: 0, new: 0 }
  for (const bucket of buckets) {
    open = { old: open.old + bucket.old, new: open.new + bucket.new }
    if (open.old + open.new < fewest) continue
    result.push({ atMs: bucket.atMs, ...open })
    open = { old: 0, new: 0 }
  }
  return result
}

/**
 * When the share by the old address falls to `target` (0.01: 99 % have moved).
 * @param buckets oldest first, from the change of the record on
 */
export function whenBelow(buckets: readonly ArrivalBucket[], target: number): Estimate {
  const total = buckets.reduce((sum, { old, new: fresh }) => sum + old + fresh, 0)
  if (total < fewestConnections) return { kind: 'too-little', why: `only ${total} connections so far` }
  const curve = merged(buckets, Math.max(1, Math.ceil(Math.min(1 / target, total / 12))))
  const below = reachedAt(curve, target)
  if (below !== undefined) return { kind: 'reached', atMs: below }
  // The recent half: the early fall is that of caches which obey, and is over.
  const recent = curve.slice(curve.length >= 2 * fewestBuckets ? Math.floor(curve.length / 2) : 0)
  if (recent.length < fewestBuckets) return { kind: 'too-little', why: 'too short a time so far' }
  const { slope, error, level, centreMs } = fitLine(recent)
  if (slope >= -error) return { kind: 'not-falling' }
  const meets = (steepness: number): number => centreMs + (Math.log(target) - level) / steepness
  const nowMs = curve.at(-1)!.atMs
  const limit = nowMs + furthest * (nowMs - buckets[0]!.atMs)
  const atMs = meets(slope)
  if (atMs > limit) return { kind: 'too-little', why: 'it falls too slowly to say from what was seen' }
  const flattest = slope + z95 * error
  const toMs = flattest < 0 ? meets(flattest) : null
  return {
    kind: 'expected',
    fromMs: Math.max(nowMs, meets(slope - z95 * error)),
    atMs: Math.max(nowMs, atMs),
    toMs: toMs !== null && toMs <= limit ? toMs : null,
  }
}

/** From when on the share stayed at or below the target, to the end. */
function reachedAt(curve: readonly ArrivalBucket[], target: number): number | undefined {
  const above = curve.findLastIndex((bucket) => (shareOf(bucket) ?? 0) > target)
  return curve[above + 1]?.atMs
}

/** Weighted least squares of ln(share) over time; a bucket weighs as much as it has seen by the old address. */
function fitLine(curve: readonly ArrivalBucket[]): { slope: number; error: number; level: number; centreMs: number } {
  const points = curve.map((bucket) => {
    // Half a connection where none came: the logarithm of 0 is nowhere.
    const share = (bucket.old + 0.5) / (bucket.old + bucket.new + 1)
    return { x: bucket.atMs, y: Math.log(share), weight: bucket.old + 0.5 }
  })
  const weights = points.reduce((sum, { weight }) => sum + weight, 0)
  const centreMs = points.reduce((sum, { x, weight }) => sum + weight * x, 0) / weights
  const level = points.reduce((sum, { y, weight }) => sum + weight * y, 0) / weights
  const spread = points.reduce((sum, { x, weight }) => sum + weight * (x - centreMs) ** 2, 0)
  const slope = points.reduce((sum, { x, y, weight }) => sum + weight * (x - centreMs) * (y - level), 0) / spread
  const left = points.reduce((sum, { x, y, weight }) => sum + weight * (y - level - slope * (x - centreMs)) ** 2, 0)
  // Counted events vary at least as Poisson's: a weight is the inverse of ln(share)'s variance.
  const scatter = Math.max(1, left / Math.max(1, points.length - 2))
  return { slope, error: Math.sqrt(scatter / spread), level, centreMs }
}
