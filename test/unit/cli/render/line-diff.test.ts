import fc from 'fast-check'
import { lineDiff } from '../../../../cli/render/line-diff.js'

const text = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('')
/** What a reader of the difference would make of the two texts; only of those short enough to be shown whole. */
const read = (diff: readonly string[], mark: '-' | '+'): string[] =>
  diff.filter((line) => line[0] === mark || line[0] === ' ').map((line) => line.slice(1))

test('says nothing of what is the same', () => {
  expect(lineDiff('', '')).toEqual([])
  expect(lineDiff('a\nb\n', 'a\nb\n')).toEqual([])
})

test('shows three lines around a change and counts the rest', () => {
  const before = Array.from({ length: 20 }, (_, i) => `line ${i}`)
  const after = before.with(10, 'another')
  expect(lineDiff(text(before), text(after))).toEqual([
    '@@ 7 lines as they are',
    ...[' line 7', ' line 8', ' line 9', '-line 10', '+another', ' line 11', ' line 12', ' line 13'],
    '@@ 6 lines as they are',
  ])
})

test('both texts can be read in it, and no line is shown as changed that is common in order', () => {
  const lines = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 7 })
  fc.assert(
    fc.property(lines, lines, (before, after) => {
      const diff = lineDiff(text(before), text(after))
      if (before.join() === after.join()) return expect(diff).toEqual([])
      if (diff.some((line) => line.startsWith('@@'))) return
      expect(read(diff, '-')).toEqual(before)
      expect(read(diff, '+')).toEqual(after)
    }),
  )
})

test('texts too long to be compared line by line are shown as they are', () => {
  const before = Array.from({ length: 3000 }, (_, i) => `old ${i}`)
  const after = Array.from({ length: 3000 }, (_, i) => `new ${i}`)
  expect(lineDiff(text(before), text(after))).toHaveLength(6000)
})
