/** What the schema has against a file, in the words of fleet.yaml. */
import type { z } from 'zod'
import { quote } from '../../proto/parse.js'
import type { Path } from './fleet-document.js'
import { foundAllowed, type Problem } from './problem.js'
import type { IssueDetail } from './schema-parts.js'

/** Zod's issues, as they come from parsing `data`, one problem a fault. */
export function explainIssues(issues: readonly z.core.$ZodIssue[], data: unknown): Problem[] {
  return issues.flatMap((issue) => explain(issue, [], data))
}

function explain(issue: z.core.$ZodIssue, above: Path, data: unknown): Problem[] {
  const path = [...above, ...issue.path.map((step) => (typeof step === 'number' ? step : String(step)))]
  const value = valueAt(data, path)
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => unknownKey(path, key, issue.message))
  }
  if (issue.code === 'invalid_union') {
    // The branch that is meant is the one that has nothing against the value's type.
    const meant = issue.errors.filter((branch) => !branch.some((it) => it.path.length === 0 && typeMismatch(it)))
    if (meant.length === 1) return meant[0]!.flatMap((it) => explain(it, path, data))
  }
  if (issue.code === 'invalid_key') {
    const text = foundAllowed(quote(String(path.at(-1))), issue.issues[0]?.message ?? issue.message)
    return [{ path, at: 'key', text }]
  }
  if (issue.code === 'invalid_value' && typeof value === 'string') {
    const text = foundAllowed(quote(value), issue.message, { text: value, candidates: issue.values.map(String) })
    return [{ path, at: 'value', text }]
  }
  const detail: IssueDetail = issue.code === 'custom' ? (issue.params ?? {}) : {}
  return [{ path, at: detail.at ?? 'value', text: foundAllowed(detail.found ?? shown(value), issue.message) }]
}

/** A literal's mismatch is a type's when the value could only be another branch's: a mapping is never `tcp`. */
const typeMismatch = (issue: z.core.$ZodIssue): boolean =>
  issue.code === 'invalid_type' || issue.code === 'invalid_value'

const secretKey = /passw|passphrase|secret|token|credential|(private|api)[-_]?key/i

function unknownKey(path: Path, key: string, keys: string): Problem {
  const text = secretKey.test(key)
    ? `found the key ${quote(key)}, but secrets never stand in fleet.yaml: SSH keys and the agent log in, the hosts keep their own`
    : foundAllowed(`the unknown key ${quote(key)}`, keys, { text: key, candidates: keys.split(', ') })
  return { path: [...path, key], at: 'key', text }
}

function valueAt(data: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (node, step) =>
      node !== null && typeof node === 'object' && Object.hasOwn(node, step) ? (node as never)[step] : undefined,
    data,
  )
}

function shown(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (typeof value === 'string') return quote(value)
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  if (typeof value === 'object') return Object.keys(value).length === 0 ? 'an empty mapping' : 'a mapping'
  return String(value)
}
