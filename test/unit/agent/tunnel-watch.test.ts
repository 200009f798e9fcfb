import { TunnelWatch, type TunnelWatchMeans } from '../../../agent/tunnel-watch.js'
import { spec, tunnel } from './plan/specs.js'

const settle = (ms: number): Promise<void> => jest.advanceTimersByTimeAsync(ms)

describe('TunnelWatch', () => {
  let watch: TunnelWatch
  let answers: boolean | null
  let marks: number[][]
  let table: boolean
  const begin = (change: Partial<TunnelWatchMeans> = {}): void => {
    watch = new TunnelWatch({
      spec: () => spec([tunnel(1)], []),
      ask: async () => answers,
      cause: async () => 'the cable is out',
      fits: async () => 0,
      mark: async (silent) => {
        marks.push([...silent])
        return table
      },
      markedForMs: 30_000,
      log: () => {},
      ...change,
    })
  }
  beforeEach(() => {
    jest.useFakeTimers()
    answers = true
    marks = []
    table = true
  })
  afterEach(async () => {
    const closed = watch.close()
    await settle(2000)
    await closed
    jest.useRealTimers()
  })

  test('a question or two without an answer is no silence; three seconds of them are, with the cause, until it answers', async () => {
    begin()
    await settle(1500)
    answers = false
    await settle(2000)
    expect(watch.silent(1)).toBeNull()
    await settle(3000)
    expect(watch.silent(1)).toBe('the cable is out')
    expect(watch.silence(1)).toBeGreaterThanOrEqual(3000)
    expect(marks).toEqual([[1]])
    answers = true
    await settle(1000)
    expect(watch.silent(1)).toBeNull()
    expect(marks).toEqual([[1], []])
  })

  test('a host that was too busy to tell turns nobody away', async () => {
    begin()
    await settle(1500)
    answers = null
    await settle(20_000)
    expect(watch.silent(1)).toBeNull()
    expect(marks).toEqual([])
  })

  test('the mark is renewed before it runs out, and at once where the ruleset had gone', async () => {
    answers = false
    begin()
    await settle(25_000)
    expect(marks.length).toBeGreaterThanOrEqual(3)
    expect(marks.length).toBeLessThanOrEqual(4)
    table = false
    await settle(15_000)
    const before = marks.length
    await settle(3000)
    expect(marks.length).toBeGreaterThanOrEqual(before + 2)
  })

  test('full packets are tried while small ones are answered', async () => {
    begin({ fits: async () => 1338 })
    await settle(10_000)
    expect(watch.fits(1)).toBe(0)
    await settle(10_000)
    expect(watch.fits(1)).toBe(1338)
  })
})
