/** Who undoes our work again and again? Tells a host that was disturbed from one on which two tools fight. */

/** So many mends of one thing within the window are a fight. */
const limit = 5
/** After a rest one more try is enough to see whether the other side is still at it. */
const limitAfterRest = 2
const windowMs = 60_000
const firstRestMs = 60_000
const longestRestMs = 600_000

interface Thing {
  /** When it was mended, within the window. */
  mends: number[]
  /** How long it was last let be; 0: never. */
  restMs: number
  /** It is let be until then. */
  restsUntil: number
}

/** Times are milliseconds of any clock that never goes back. */
export class Fights {
  private readonly things = new Map<string, Thing>()

  /** Whether this isn't to be mended now. */
  rests(thing: string, now: number): boolean {
    return (this.things.get(thing)?.restsUntil ?? 0) > now
  }

  /** @returns for how long it is let be from now on, in ms; 0 where it isn't. */
  mended(thing: string, now: number): number {
    this.forget(now)
    const known = this.things.get(thing) ?? { mends: [], restMs: 0, restsUntil: 0 }
    this.things.set(thing, known)
    known.mends.push(now)
    if (known.mends.length < (known.restMs > 0 ? limitAfterRest : limit)) return 0
    known.restMs = Math.min(longestRestMs, known.restMs === 0 ? firstRestMs : known.restMs * 2)
    known.restsUntil = now + known.restMs
    known.mends = []
    return known.restMs
  }

  /** What is let be now. */
  resting(now: number): string[] {
    return [...this.things].filter(([, { restsUntil }]) => restsUntil > now).map(([thing]) => thing)
  }

  /** Bounded by what can be mended within one window; a peace that lasted a window is one. */
  private forget(now: number): void {
    for (const [thing, known] of this.things) {
      known.mends = known.mends.filter((at) => at > now - windowMs)
      if (known.mends.length === 0 && known.restsUntil + windowMs < now) this.things.delete(thing)
    }
  }
}
