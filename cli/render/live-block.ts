/**
 * Some lines at the end of a terminal that are drawn again and again, and whatever is printed above them.
 * No alternate screen: what was printed stays in the scrollback, and after the end the terminal is as it was.
 */

/** A terminal that can be written to: process.stdout or process.stderr. */
export interface Screen {
  readonly columns?: number
  readonly rows?: number
  write(text: string): unknown
}

const hideCursor = '\x1b[?25l'
const showCursor = '\x1b[?25h'
/** ED: from the cursor to the end of the screen. */
const clearBelow = '\x1b[J'
/** DEC mode 2026: terminals that know it show the frame when it is whole. */
const beginFrame = '\x1b[?2026h'
const endFrame = '\x1b[?2026l'

// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
const sequence = /\x1b\[[0-9;?]*[A-Za-z]/g

/** Columns that a text takes, without its colours. */
export const widthOf = (text: string): number => [...text.replace(sequence, '')].length

/** Cuts a text to so many columns; colours that were begun are ended. */
export function cut(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text
  let left = Math.max(0, columns - 1)
  let result = ''
  let rest = text
  while (rest !== '' && left > 0) {
    const found = rest.match(sequence)?.[0]
    if (found !== undefined && rest.startsWith(found)) {
      result += found
      rest = rest.slice(found.length)
      continue
    }
    const character = String.fromCodePoint(rest.codePointAt(0)!)
    result += character
    rest = rest.slice(character.length)
    left -= 1
  }
  return `${result}…${text.includes('\x1b') ? '\x1b[0m' : ''}`
}

export class LiveBlock {
  private drawn: string[] = []
  private wanted: readonly string[] = []
  private hidden = false

  /** @param options.hideCursor whoever hides it must call `clear` or `keep` whatever happens, signals too */
  constructor(
    private readonly screen: Screen,
    private readonly options: { hideCursor: boolean } = { hideCursor: false },
  ) {}

  get columns(): number {
    return this.screen.columns ?? 80
  }
  get rows(): number {
    return this.screen.rows ?? 24
  }

  /** Replaces the block; what doesn't fit on the screen is left away at its end. */
  set(lines: readonly string[]): void {
    this.wanted = lines
    this.draw('')
  }

  /** Whole lines, above the block. */
  print(text: string): void {
    this.draw(text)
  }

  /** Takes the block away and gives the cursor back. */
  clear(): void {
    this.set([])
    if (this.hidden) this.screen.write(showCursor)
    this.hidden = false
  }

  /** Leaves the block where it stands, as ordinary lines. */
  keep(): void {
    const lines = this.drawn
    this.clear()
    if (lines.length > 0) this.screen.write(`${lines.join('\n')}\n`)
  }

  private draw(above: string): void {
    // The last column is left free: a cursor behind it wraps on some terminals and waits on others.
    const lines = this.wanted.slice(0, Math.max(1, this.rows - 1)).map((line) => cut(line, this.columns - 1))
    if (this.drawn.length === 0 && lines.length === 0) {
      if (above !== '') this.screen.write(above)
      return
    }
    const hide = this.options.hideCursor && !this.hidden && lines.length > 0 ? hideCursor : ''
    this.hidden ||= hide !== ''
    const body = lines.map((line) => `${line}\n`).join('')
    this.screen.write(`${beginFrame}${hide}${this.home()}${clearBelow}${above}${body}${endFrame}`)
    this.drawn = lines
  }

  /** To where the block begins. A terminal that became narrower has wrapped its lines. */
  private home(): string {
    const height = this.drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(widthOf(line) / this.columns)), 0)
    return height === 0 ? '' : `\x1b[${Math.min(height, this.rows - 1)}A\r`
  }
}
