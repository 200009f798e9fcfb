import { oldShareOver } from '../../../controller/rates.js'

describe('the share by the old address over time', () => {
  test('of all that came', () => expect(oldShareOver([3, 0], [0, 1])).toBe(0.75))
  test('while one host tells nothing, the other one alone is no share', () => {
    expect(oldShareOver([null, null], [5, 5])).toBeNull()
    expect(oldShareOver([5, 5], [null, null])).toBeNull()
    expect(oldShareOver([1, null, null], [1, 50, 50])).toBe(0.5)
  })
  test('of nobody', () => {
    expect(oldShareOver([0, 0], [0, 0])).toBeNull()
    expect(oldShareOver([], [])).toBeNull()
  })
})
