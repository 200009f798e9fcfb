/** HTML by template: whatever is put in is escaped, unless it is HTML that was made here. */

export class Html {
  constructor(readonly text: string) {}
}

type Part = string | number | Html | readonly Html[]

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character]!)

function textOf(part: Part): string {
  if (part instanceof Html) return part.text
  return typeof part === 'string' || typeof part === 'number' ? escaped(String(part)) : part.map(textOf).join('')
}

export const html = (strings: TemplateStringsArray, ...parts: readonly Part[]): Html =>
  new Html(strings.map((text, i) => text + (i < parts.length ? textOf(parts[i]!) : '')).join(''))

export const nothing = new Html('')
