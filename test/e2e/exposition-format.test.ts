import { fallen, parseExposition, sumOf } from './exposition-format.js'

describe('the reader of figures', () => {
  const good = '# HELP a_total Of a.\n# TYPE a_total counter\na_total{b="c"} 1\na_total{b="d"} 2\n'
  test('takes what is right', () => {
    expect(sumOf(parseExposition(`# a remark\n${good}`), 'a_total')).toBe(3)
    expect(sumOf(parseExposition(good), 'a_total', { b: 'd' })).toBe(2)
  })
  test.each([
    ['no end', good.trimEnd()],
    ['a series twice', `${good}a_total{b="c"} 1\n`],
    ['a family twice', good + good],
    ['no TYPE', '# HELP a Of a.\na 1\n'],
    ['no HELP', '# TYPE a gauge\na 1\n'],
    ['another family below a TYPE', `${good}b 1\n`],
    ['an illegal name', good.replaceAll('a_total', 'a-total')],
    ['an illegal label', good.replaceAll('b=', '1b=')],
    ['a label twice', good.replace('b="c"', 'b="c",b="c"')],
    ['no number', good.replace('} 1', '} one')],
    ['a counter below 0', good.replace('} 1', '} -1')],
  ])('refuses %s', (_what, text) => expect(() => parseExposition(text)).toThrow())
  test('sees a counter that falls', () => {
    expect(fallen(parseExposition(good), parseExposition(good.replace('} 2', '} 1')))).toHaveLength(1)
    expect(fallen(parseExposition(good), parseExposition(good.replace('} 2', '} 3')))).toEqual([])
  })
})
