import fc from 'fast-check'
import { parseDuration } from '../../../../controller/config/duration.js'

describe('parseDuration', () => {
  it.each([
    ['0s', 0],
    ['500ms', 500],
    ['15s', 15_000],
    ['2m', 120_000],
    ['1h', 3_600_000],
    ['168h', 604_800_000],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toEqual({ ok: true, value: ms })
  })

  it('reads any whole number of a unit', () => {
    const units = fc.constantFrom(['ms', 1] as const, ['s', 1000] as const, ['m', 60_000] as const)
    fc.assert(
      fc.property(fc.nat(10_000), units, (count, [unit, ms]) => {
        expect(parseDuration(`${count}${unit}`)).toEqual({ ok: true, value: count * ms })
      }),
    )
  })

  it.each(['', '15', 's', '1.5s', '-1s', '15 s', '1m30s', '15S', '1d', '169h', '604800001ms', '9999999999ms', '1s\n'])(
    'refuses %j',
    (text) => {
      expect(parseDuration(text)).toEqual({
        ok: false,
        found: JSON.stringify(text),
        allowed: 'a duration such as 500ms, 15s, 2m or 1h, at most 168h',
      })
    },
  )
})
