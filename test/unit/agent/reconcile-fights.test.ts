import { Fights } from '../../../agent/reconcile-fights.js'

const second = 1000

it('mends what is disturbed now and then, however often', () => {
  const fights = new Fights()
  for (let i = 0; i < 100; i++) expect(fights.mended('rule', i * 20 * second)).toBe(0)
  expect(fights.resting(2000 * second)).toEqual([])
})

it('lets be what is undone five times within a minute, and only that', () => {
  const fights = new Fights()
  for (let i = 0; i < 4; i++) expect(fights.mended('rule', i * second)).toBe(0)
  expect(fights.mended('route', 4 * second)).toBe(0)
  expect(fights.mended('rule', 5 * second)).toBe(60 * second)
  expect(fights.rests('rule', 6 * second)).toBe(true)
  expect(fights.rests('route', 6 * second)).toBe(false)
  expect(fights.resting(6 * second)).toEqual(['rule'])
  expect(fights.resting(65 * second)).toEqual([])
})

it('rests twice as long each time the fight goes on, ten minutes at the most', () => {
  const fights = new Fights()
  let now = 0
  for (let i = 0; i < 4; i++) fights.mended('rule', now)
  const rests: number[] = [fights.mended('rule', now)]
  while (rests.length < 6) {
    now += rests.at(-1)! + second
    expect(fights.mended('rule', now)).toBe(0)
    now += second
    rests.push(fights.mended('rule', now))
  }
  expect(rests.map((rest) => rest / second)).toEqual([60, 120, 240, 480, 600, 600])
})

it('forgets a fight that has ended', () => {
  const fights = new Fights()
  for (let i = 0; i < 5; i++) fights.mended('rule', 0)
  const later = 60 * second
  expect(fights.mended('rule', later)).toBe(0)
  // It stood for more than a minute.
  for (let i = 0; i < 4; i++) expect(fights.mended('rule', later + 61 * second + i)).toBe(0)
  expect(fights.mended('rule', later + 62 * second)).toBe(60 * second)
})
