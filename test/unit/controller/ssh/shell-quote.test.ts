import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { shellQuote } from '../../../../controller/ssh/shell-quote.js'

const throughShell = (argv: string[]): string[] =>
  execFileSync('sh', ['-c', shellQuote(['printf', '%s\\0', ...argv])], { encoding: 'utf8' })
    .split('\0')
    .slice(0, -1)

describe('shellQuote', () => {
  it('leaves plain words as they are', () => {
    expect(shellQuote(['/usr/bin/nft', '-f', 'a_b-c.d:e@f,g%h+i'])).toBe('/usr/bin/nft -f a_b-c.d:e@f,g%h+i')
  })

  it('quotes what begins like an assignment, and the empty word', () => {
    expect(shellQuote(['A=b', ''])).toBe("A=b ''")
  })

  it('brings hostile words through a shell unchanged', () => {
    const words = [
      "'",
      "''",
      "a'b",
      '"',
      '$HOME',
      '$(id)',
      '`id`',
      '\\',
      "\\'",
      'a\nb',
      '*',
      '?',
      '~',
      '#',
      '!x',
      '&&',
      ';',
      '\t',
      'é€😀',
    ]
    expect(throughShell(words)).toEqual(words)
  })

  it('brings any words through a shell unchanged', () => {
    const word = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((text) => !text.includes('\0'))
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 5 }), (words) => {
        expect(throughShell(words)).toEqual(words)
      }),
      { numRuns: 50 },
    )
  })

  it('refuses NUL and an empty command', () => {
    expect(() => shellQuote(['a\0b'])).toThrow(RangeError)
    expect(() => shellQuote([])).toThrow(RangeError)
  })
})
