/** The difference between two texts, line by line, with some lines around it: `+`, `-` and ` ` before each. */

const context = 3
/** Cells of the table that finds the longest common lines; beyond it everything in between counts as changed. */
const mostCells = 4_000_000

/** Empty where both are the same. A line `@@ …` stands for what is left away. */
export function lineDiff(before: string, after: string): string[] {
  const [old, young] = [linesOf(before), linesOf(after)]
  let head = 0
  while (head < old.length && head < young.length && old[head] === young[head]) head++
  let tail = 0
  const most = Math.min(old.length, young.length) - head
  while (tail < most && old[old.length - 1 - tail] === young[young.length - 1 - tail]) tail++
  const changed = between(old.slice(head, old.length - tail), young.slice(head, young.length - tail))
  if (changed.length === 0) return []
  const plain = (lines: string[]): string[] => lines.map((line) => ` ${line}`)
  return shortened([...plain(old.slice(0, head)), ...changed, ...plain(old.slice(old.length - tail))])
}

const linesOf = (text: string): string[] => (text === '' ? [] : text.replace(/\n$/, '').split('\n'))

/** By the longest common subsequence. */
function between(old: string[], young: string[]): string[] {
  const minus = (line: string): string => `-${line}`
  const plus = (line: string): string => `+${line}`
  if (old.length * young.length > mostCells) return [...old.map(minus), ...young.map(plus)]
  const width = young.length + 1
  const common = new Uint32Array((old.length + 1) * width)
  for (let i = old.length - 1; i >= 0; i--)
    for (let j = young.length - 1; j >= 0; j--)
      common[i * width + j] =
        old[i] === young[j]
          ? common[(i + 1) * width + j + 1]! + 1
          : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!)
  const lines: string[] = []
  let [i, j] = [0, 0]
  while (i < old.length || j < young.length) {
    if (i < old.length && j < young.length && old[i] === young[j]) {
      lines.push(` ${old[i++]}`)
      j++
    } else if (i < old.length && (j === young.length || common[(i + 1) * width + j]! >= common[i * width + j + 1]!)) {
      lines.push(minus(old[i++]!))
    } else lines.push(plus(young[j++]!))
  }
  return lines
}

const same = (lines: number): string => (lines === 1 ? '@@ a line as it is' : `@@ ${lines} lines as they are`)

function shortened(lines: readonly string[]): string[] {
  const near = new Set(
    lines.flatMap((line, i) =>
      line.startsWith(' ') ? [] : Array.from({ length: 2 * context + 1 }, (_, k) => i - context + k),
    ),
  )
  const kept: string[] = []
  let left = 0
  for (const [i, line] of lines.entries()) {
    if (near.has(i)) {
      if (left > 0) kept.push(same(left))
      left = 0
      kept.push(line)
    } else left++
  }
  return left > 0 ? [...kept, same(left)] : kept
}
