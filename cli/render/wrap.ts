/**
 * Words in lines of at most `width` columns, the first one indented by `first` and the others by `rest`.
 * Words that are longer stay whole.
 */
export function wrap(text: string, width: number, first: string, rest: string): string {
  const lines: string[] = []
  let line = first
  let isEmpty = true
  for (const word of text.split(' ')) {
    if (!isEmpty && line.length + 1 + word.length > width) {
      lines.push(line)
      line = rest
      isEmpty = true
    }
    line += isEmpty ? word : ` ${word}`
    isEmpty = false
  }
  return [...lines, line].join('\n')
}
