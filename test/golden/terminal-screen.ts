/** As much of a terminal as the command line uses: what a person would see of it, as text. */
import type { Screen } from '../../cli/render/live-block.js'

export class TerminalScreen implements Screen {
  private lines: string[] = ['']
  private row = 0
  private column = 0
  cursorHidden = false

  constructor(
    readonly columns: number,
    readonly rows: number,
  ) {}

  write(text: string): void {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences
    for (const [part] of text.matchAll(/\x1b\[[0-9;?]*[A-Za-z]|[\s\S]/gu)) this.take(part)
  }

  /** All that was written, scrollback included. */
  text(): string {
    return `${this.lines
      .map((line) => line.trimEnd())
      .join('\n')
      .trimEnd()}\n`
  }

  /** What the window shows: the last rows. */
  window(): string[] {
    return this.lines.slice(-this.rows)
  }

  private take(part: string): void {
    if (part === '\n') {
      this.row += 1
      this.column = 0
      if (this.row === this.lines.length) this.lines.push('')
    } else if (part === '\r') this.column = 0
    else if (part.startsWith('\x1b[') && part.endsWith('A')) {
      const up = Number(/\d+/.exec(part)?.[0] ?? 1)
      // What has scrolled out of the window can't be reached.
      this.row = Math.max(this.row - up, this.lines.length - this.rows, 0)
    } else if (part === '\x1b[J') {
      this.lines.length = this.row + 1
      this.lines[this.row] = this.lines[this.row]!.slice(0, this.column)
    } else if (part === '\x1b[?25l') this.cursorHidden = true
    else if (part === '\x1b[?25h') this.cursorHidden = false
    else if (part.startsWith('\x1b[')) {
      if (!/^(\?2026[hl]|[0-9;]*m)$/.test(part.slice(2))) throw new Error(`unknown sequence ${JSON.stringify(part)}`)
    } else this.put(part)
  }

  private put(character: string): void {
    if (this.column === this.columns) {
      this.take('\n')
    }
    const line = this.lines[this.row]!.padEnd(this.column)
    this.lines[this.row] = line.slice(0, this.column) + character + line.slice(this.column + 1)
    this.column += 1
  }
}
