import type { Site } from './site.js'

/** The quickest of them has the smallest error. */
const tries = 3

/** A host's clock minus ours in milliseconds, and by how much that may be wrong; null where it doesn't say. */
export async function clockOffset(site: Site): Promise<{ offsetMs: number; errorMs: number } | null> {
  let best: { offsetMs: number; errorMs: number } | null = null
  for (let i = 0; i < tries; i++) {
    const begun = Date.now()
    const { stdout } = await site.look(['date', '+%s.%N'])
    const ended = Date.now()
    // busybox knows no nanoseconds, and prints the letter: then half a second is added to the error.
    const match = /^(\d+)\.(?:(\d{3})\d*|.*)/.exec(stdout)
    if (match === null) return null
    const fraction = match[2] === undefined ? 500 : Number(match[2])
    const errorMs = (ended - begun) / 2 + (match[2] === undefined ? 500 : 1)
    if (best && best.errorMs <= errorMs) continue
    best = {
      offsetMs: Math.round(Number(match[1]) * 1000 + fraction - (begun + ended) / 2),
      errorMs: Math.round(errorMs),
    }
  }
  return best
}
