import type { Path } from './fleet-document.js'
import { nearName } from './near-name.js'

/** Something wrong with fleet.yaml, and which key or value it is about. `text`: "found …, allowed …". */
export interface Problem {
  path: Path
  at: 'key' | 'value'
  text: string
}

/** `found …, allowed …`, and the candidate that was probably meant. `found` is shown as it is. */
export function foundAllowed(
  found: string,
  allowed: string,
  near?: { text: string; candidates: readonly string[] },
): string {
  const meant = near && nearName(near.text, near.candidates)
  return `found ${found}, allowed ${allowed}${meant === undefined ? '' : `; did you mean ${JSON.stringify(meant)}?`}`
}

/** `services.web.listen[1]`; keys that hold other characters stand in brackets and quotes. */
export function pathText(path: Path): string {
  return path
    .map((step, i) => {
      if (typeof step === 'number') return `[${step}]`
      if (/^[A-Za-z0-9_-]+$/.test(step)) return i === 0 ? step : `.${step}`
      return `[${JSON.stringify(step)}]`
    })
    .join('')
}
