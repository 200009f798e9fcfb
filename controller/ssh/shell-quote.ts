/** Characters that no POSIX shell treats specially anywhere in a word (XCU 2.2). */
const plain = /^[A-Za-z0-9_./:@%+,-][A-Za-z0-9_./:@%+,=-]*$/

/**
 * One shell command line that runs exactly `argv`: every word that isn't plain is put into single
 * quotes, where nothing but the quote itself is special (XCU 2.2.2).
 *
 * @throws RangeError for an empty argv, and for NUL, which no argument of a process can hold.
 */
export const shellQuote = (argv: readonly string[]): string => {
  if (argv.length === 0) throw new RangeError('a command needs at least one word')
  return argv
    .map((word) => {
      if (word.includes('\0')) throw new RangeError('an argument holds a NUL character')
      return plain.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
    })
    .join(' ')
}
