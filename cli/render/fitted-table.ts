/** A table that fits the terminal: names are shortened, then what matters least is left away. */
import { cut, widthOf } from './live-block.js'

export interface Column {
  title: string
  cells: readonly string[]
  /** Figures stand right. */
  right?: boolean
  /** Names may be cut to this many characters. */
  least?: number
  /** Of columns that can be left away the one with the highest number goes first. */
  dispensable?: number
}

const gap = '  '

/** Lines without their ends, the titles first. @param columns of the terminal; Infinity in a pipe */
export function fittedTable(all: readonly Column[], columns: number): string[] {
  const kept = [...all]
  const widths = new Map(all.map((column) => [column, Math.max(...[column.title, ...column.cells].map(widthOf))]))
  const tooWide = (): number =>
    kept.reduce((sum, column) => sum + widths.get(column)!, 0) + gap.length * (kept.length - 1) - columns
  const shrinkable = (): number =>
    kept.reduce((sum, column) => sum + Math.max(0, widths.get(column)! - leastOf(column, widths)), 0)
  while (tooWide() > shrinkable()) {
    const next = kept
      .filter((column) => column.dispensable !== undefined)
      .sort((a, b) => b.dispensable! - a.dispensable!)[0]
    if (!next) break
    kept.splice(kept.indexOf(next), 1)
  }
  while (tooWide() > 0 && shrinkable() > 0) {
    const widest = kept
      .filter((column) => widths.get(column)! > leastOf(column, widths))
      .sort((a, b) => widths.get(b)! - widths.get(a)!)[0]!
    widths.set(widest, widths.get(widest)! - 1)
  }
  const row = (pick: (column: Column) => string): string =>
    kept
      .map((column) => {
        const width = widths.get(column)!
        const text = cut(pick(column), width)
        const space = ' '.repeat(Math.max(0, width - widthOf(text)))
        return column.right ? space + text : text + space
      })
      .join(gap)
      .trimEnd()
  const count = all[0]?.cells.length ?? 0
  return [row((column) => column.title), ...Array.from({ length: count }, (_, i) => row((column) => column.cells[i]!))]
}

const leastOf = (column: Column, widths: ReadonlyMap<Column, number>): number =>
  Math.min(widths.get(column)!, column.least ?? widths.get(column)!)
