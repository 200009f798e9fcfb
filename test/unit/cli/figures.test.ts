import { age, percent, rate, sparkLine } from '../../../cli/render/figures.js'
import { fittedTable } from '../../../cli/render/fitted-table.js'
import { cut, widthOf } from '../../../cli/render/live-block.js'
import { mostInterestingFirst } from '../../../controller/plan/interest.js'
import { ingressRates } from '../../../controller/rates.js'
import type { Stage } from '../../../proto/model/host-spec.js'

test.each([
  [null, '-'],
  [0, '0'],
  [0.01, '<0.1'],
  [0.25, '0.3'],
  [9.96, '10'],
  [999.4, '999'],
  [1240, '1.2k'],
  [12_000, '12k'],
])('rate %p', (value, text) => expect(rate(value)).toBe(text))

test.each([
  [null, '-'],
  [0, '0 %'],
  [0.0001, '<1 %'],
  [0.5, '50 %'],
  [0.9999, '>99 %'],
  [1, '100 %'],
])('percent %p: only none is 0 and only all is 100', (value, text) => expect(percent(value)).toBe(text))

test('age', () => expect([0, 59_999, 60_000, 7_200_000, 200_000_000].map(age)).toEqual(['0s', '59s', '1m', '2h', '2d']))

test('a spark line ends with the newest; what came at all is never the lowest bar', () => {
  expect(sparkLine([0, 0.001, 5, 10], 6, 10)).toBe('  ▁▂▅█')
  expect(sparkLine([1, 2, 3], 2, 3)).toBe('▆█')
  expect(sparkLine([null, 0], 2, 0)).toBe(' ▁')
})

test('a text with colours is cut by what is seen of it', () => {
  const text = `a\x1b[31mbcd\x1b[39mef`
  expect(widthOf(text)).toBe(6)
  expect(cut(text, 6)).toBe(text)
  expect(cut(text, 3)).toBe('a\x1b[31mb…\x1b[0m')
})

test('a table leaves away what matters least, after shortening names as far as they may be', () => {
  const columns = [
    { title: 'NAME', cells: ['a-very-long-name-of-a-service', 'b'], least: 6 },
    { title: 'N', cells: ['1', '22'], right: true },
    { title: 'MORE', cells: ['x', 'y'], dispensable: 1 },
    { title: 'MOST', cells: ['x', 'y'], dispensable: 2 },
  ]
  expect(fittedTable(columns, 100)[0]).toBe('NAME                            N  MORE  MOST')
  expect(fittedTable(columns, 24)).toEqual([
    'NAME       N  MORE  MOST',
    'a-very-…   1  x     x',
    'b         22  y     y',
  ])
  expect(fittedTable(columns, 17)).toEqual(['NAME      N  MORE', 'a-very…   1  x', 'b        22  y'])
  expect(fittedTable(columns, 10)).toEqual(['NAME     N', 'a-ver…   1', 'b       22'])
})

test('rates by ingress: by the address that was used, whoever answered', () => {
  const count = (recentForwarded: number, recentServed: number, recentMs = 60_000) => ({
    recentForwarded,
    recentServed,
    recentMs,
  })
  expect(ingressRates(count(60, 0), count(0, 180))).toEqual({ byOld: 1, byNew: 3, oldShare: 0.25 })
  expect(ingressRates(undefined, count(0, 60))).toEqual({ byOld: null, byNew: 1, oldShare: null })
  expect(ingressRates(count(0, 0), count(0, 0))).toEqual({ byOld: 0, byNew: 0, oldShare: null })
})

test('most interesting first', () => {
  const one = (id: string, stage: Stage, byOld: number, ok = true) => ({ id, stage, byOld, lastProof: { ok } })
  const sorted = mostInterestingFirst([
    one('done', 'finalized', 0, false),
    one('rests', 'forwarding', 9),
    one('quiet', 'moved', 0),
    one('few', 'moved', 1),
    one('many', 'moved', 5),
    one('failed', 'forwarding', 0, false),
    one('moving', 'moving', 0),
    one('busier', 'forwarding', 10),
  ])
  expect(sorted.map(({ id }) => id)).toEqual(['moving', 'failed', 'many', 'few', 'quiet', 'busier', 'rests', 'done'])
})
