/**
 * The candidate that `found` was probably meant to be, or undefined. Distance is optimal string alignment
 * (Damerau-Levenshtein without edits inside a transposition), blind to case; at most a third of the
 * letters, and at least one, may differ.
 */
export function nearName(found: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined
  let least = Math.max(1, Math.floor(found.length / 3)) + 1
  for (const candidate of candidates) {
    // A one-letter name is one edit away from every other.
    const distance = Math.min(candidate.length, found.length) > 1 ? editDistance(found, candidate) : Infinity
    if (distance < least) [best, least] = [candidate, distance]
  }
  return best
}

function editDistance(left: string, right: string): number {
  const a = left.toLowerCase()
  const b = right.toLowerCase()
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + change)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, beforeLast[j - 2]! + 1)
      row.push(cost)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}
