import fc from 'fast-check'
import { type Arrived, day, longest, thin } from '../../../../agent/history/thin.js'

const now = 1_800_000_000_000
const step = 10_000

/** A row each ten seconds, back from now. */
const rowsBack = (count: number, service = 'web'): Arrived[] =>
  Array.from({ length: count }, (_, i) => {
    const to = now - (count - 1 - i) * step
    return { service, from: to - step, to, forwarded: 1, served: 2, total: { forwarded: i + 1, served: 2 * (i + 1) } }
  })

const sum = (rows: readonly Arrived[], key: 'forwarded' | 'served'): number =>
  rows.reduce((all, row) => all + row[key], 0)

test('what fits stays as it is', () => {
  const rows = rowsBack(100)
  expect(thin(rows, now, 100)).toEqual(rows)
})

test('what is older than an hour is summed up first, and nothing is lost', () => {
  const rows = rowsBack(1000)
  const thinned = thin(rows, now, 600)
  expect(thinned.length).toBeLessThanOrEqual(600)
  expect(sum(thinned, 'forwarded')).toBe(1000)
  expect(sum(thinned, 'served')).toBe(2000)
  // The last hour in its full detail.
  expect(thinned.slice(-359)).toEqual(rows.slice(-359))
  expect(thinned[5]!.to - thinned[5]!.from).toBe(60_000)
  expect(thinned.at(-1)!.total).toEqual(rows.at(-1)!.total)
})

test('nothing older than a week is kept', () => {
  const old = { ...rowsBack(1)[0]!, to: now - longest }
  expect(thin([old, ...rowsBack(1)], now, 10)).toEqual(rowsBack(1))
})

test('a week of a busy service and of many is bounded', () => {
  const rows = rowsBack((2 * day) / step)
  expect(thin(rows, now, 8000).length).toBeLessThanOrEqual(8000)
  const many = Array.from({ length: 500 }, (_, i) => rowsBack(20, `s${i}`))
    .flat()
    .sort((a, b) => a.to - b.to)
  expect(thin(many, now, 700).length).toBeLessThanOrEqual(700)
})

test('spans of one service never overlap, and sums are kept unless rows had to go', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ gap: fc.integer({ min: 1, max: 500 }), service: fc.constantFrom('a', 'b') }), {
        maxLength: 300,
      }),
      fc.integer({ min: 1, max: 300 }),
      (spec, most) => {
        let to = now - spec.reduce((all, { gap }) => all + gap * step, 0)
        const last: Record<string, number> = {}
        const rows = spec.map(({ gap, service }): Arrived => {
          to += gap * step
          const from = Math.max(last[service] ?? 0, to - step)
          last[service] = to
          return { service, from, to, forwarded: 1, served: 0, total: { forwarded: 0, served: 0 } }
        })
        const thinned = thin(rows, now, most)
        expect(thinned.length).toBeLessThanOrEqual(most)
        for (const service of ['a', 'b']) {
          const own = thinned.filter((row) => row.service === service)
          own.forEach((row, i) => {
            expect(row.from).toBeLessThan(row.to)
            if (i > 0) expect(row.from).toBeGreaterThanOrEqual(own[i - 1]!.to)
          })
        }
      },
    ),
  )
})
