/** When copying live data once more doesn't make the last copy any shorter. Pure. */

/** What a pass had to send. */
export interface Pass {
  literalBytes: number
}

/** Sent in a moment on any line. */
const littleBytes = 1024 * 1024
/** A service that writes as fast as the line carries never ends. */
const mostPasses = 10

/** Whether the passes so far are enough: little was left, or not less than half of what the one before left. */
export function enough(passes: readonly Pass[]): boolean {
  const [before, last] = [passes.at(-2), passes.at(-1)]
  if (!last) return false
  if (passes.length >= mostPasses || last.literalBytes < littleBytes) return true
  return before !== undefined && last.literalBytes >= before.literalBytes / 2
}
