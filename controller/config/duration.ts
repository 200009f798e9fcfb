import { type Parsed, quote } from '../../proto/parse.js'

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
/** A week. Node's timers end at 2^31 - 1 ms (24.8 days) and fire at once beyond. */
const longestMs = 168 * unitMs.h

/** `500ms`, `15s`, `2m` or `1h` (a whole number and one unit) in milliseconds. */
export function parseDuration(text: string): Parsed<number> {
  const match = /^(\d{1,9})(ms|s|m|h)$/.exec(text)
  const ms = Number(match?.[1]) * unitMs[match?.[2] as keyof typeof unitMs]
  if (ms <= longestMs) return { ok: true, value: ms }
  return { ok: false, found: quote(text), allowed: 'a duration such as 500ms, 15s, 2m or 1h, at most 168h' }
}
