import { slope } from '../../chaos/slope.js'

const samples = (rss: (second: number) => number) =>
  Array.from({ length: 20 }, (_, i) => ({ seconds: i * 5, rss: rss(i * 5), descriptors: 30 + i, processes: 9 - i }))

test('what grows has its slope, what goes up and down has none', () => {
  expect(slope(samples((second) => 80 + second / 10)).rss).toBeCloseTo(0.1)
  expect(slope(samples((second) => 80 + second / 10)).descriptors).toBeCloseTo(0.2)
  expect(slope(samples((second) => (Math.floor(second / 5) % 4 === 1 ? 90 : 80))).rss).toBeLessThan(0.02)
  expect(slope(samples(() => 80)).processes).toBeCloseTo(-0.2)
  expect(slope([])).toEqual({ rss: 0, descriptors: 0, processes: 0 })
})
