import { enough } from '../../../../controller/plan/copy-passes.js'

const MiB = 1024 * 1024
const passes = (...mebibytes: number[]) => mebibytes.map((count) => ({ literalBytes: count * MiB }))

describe('passes over live data', () => {
  it.each([
    ['none yet', [], false],
    ['a large first one', [5000], false],
    ['a small first one', [0.5], true],
    ['shrinking', [5000, 300, 100], false],
    ['down to a little', [5000, 300, 0.9], true],
    ['not shrinking by half', [5000, 300, 150], true],
    ['growing', [5000, 300, 400], true],
    ['shrinking for ever', [1e6, 4e5, 1.6e5, 6e4, 2e4, 9e3, 4e3, 1900, 900, 400], true],
  ])('%s', (_, sizes, expected) => expect(enough(passes(...sizes))).toBe(expected))
})
