/** What the schemas of fleet.yaml are made of. An error text completes "found …, allowed …" (explain-issues.ts). */
import { z } from 'zod'
import type { Parsed } from '../../proto/parse.js'
import { parseDuration } from './duration.js'

/** What a custom issue carries for explain-issues.ts besides its text. */
export interface IssueDetail {
  /** Instead of the value as it stands in the file. */
  found?: string
  at?: 'key' | 'value'
}

/** Text that `parse` turns into a value. `json` goes into the JSON Schema. */
export function parsedText<T>(
  parse: (text: string) => Parsed<T>,
  allowed: string,
  json: { pattern?: string; description: string },
) {
  return z
    .string({ error: allowed })
    .meta(json)
    .transform((text, context) => {
      const parsed = parse(text)
      if (parsed.ok) return parsed.value
      const params: IssueDetail = { found: parsed.found }
      context.issues.push({ code: 'custom', message: parsed.allowed, input: text, params })
      return z.NEVER
    })
}

/** Text that matches a pattern as it stands. */
export const matchingText = (pattern: RegExp, allowed: string) =>
  z.string({ error: allowed }).regex(pattern, { error: allowed })

/** A mapping with these keys alone. Its text for unknown keys is the list of keys that there are. */
export const mapping = <Shape extends z.core.$ZodLooseShape>(shape: Shape, allowed: string) =>
  z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? Object.keys(shape).join(', ') : allowed),
  })

export const list = <Item extends z.ZodType>(item: Item, allowed: string) =>
  z.array(item, { error: allowed }).min(1, { error: allowed })

export const choice = <const Values extends readonly string[]>(values: Values) =>
  z.enum(values, { error: values.join(', ') })

export const wholeNumber = (from: number, to: number) => {
  const error = `a whole number from ${from} to ${to}`
  return z.int({ error }).min(from, { error }).max(to, { error })
}

export const duration = parsedText(parseDuration, 'a duration such as 500ms, 15s, 2m or 1h', {
  pattern: '^[0-9]{1,9}(ms|s|m|h)$',
  description: 'A whole number and a unit: 500ms, 15s, 2m, 1h',
})

/** argv can't hold NUL (execve(2)). */
export const command = matchingText(/\S/, 'a shell command').refine((text) => !text.includes('\0'), {
  error: 'a shell command',
})
