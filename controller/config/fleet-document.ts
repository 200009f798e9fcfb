/** YAML text as plain data that remembers where everything stands. */
import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
} from 'yaml'
import { quote } from '../../proto/parse.js'

/** Keys and list positions from the root down. */
export type Path = readonly (string | number)[]

export interface Place {
  line: number
  column: number
}

export interface PlacedProblem extends Place {
  text: string
}

export interface FleetDocument {
  /** Plain objects, arrays and scalars; undefined where `problems` made the text unreadable. */
  data: unknown
  /** What YAML alone has against the text. */
  problems: PlacedProblem[]
  /** Where a path's value or key stands; of a path that isn't there, the nearest key above it. */
  place(path: Path, at: 'key' | 'value'): Place
}

/**
 * Aliases in a file, and then what they come to when those inside others are counted each time: a few
 * nested ones ("billion laughs") grow to gigabytes, and a fleet hardly needs any.
 */
const maxAliases = 100

/** Reads YAML 1.2 (one document, core schema, aliases within bounds). Never throws on bad text. */
export function readDocument(text: string): FleetDocument {
  const lines = new LineCounter()
  const placeOf = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }
  // Duplicate keys are looked for below, where the key and its first line can be named.
  const doc = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false, logLevel: 'error' })
  const problems: PlacedProblem[] = []
  const report = (offset: number, problem: string) => problems.push({ ...placeOf(offset), text: problem })
  const root = doc.contents as Node | null
  const place = (path: Path, at: 'key' | 'value'): Place => placeOf(offsetOf(root, path, at, resolve))
  const resolve = (alias: Alias) => alias.resolve(doc)

  // One slip makes the parser stumble over all that follows; the first of them is the one to mend.
  const [slip] = doc.errors
  if (slip !== undefined) {
    report(slip.pos[0], syntaxProblem(slip.code, slip.message))
    return { data: undefined, problems, place }
  }
  for (const warning of doc.warnings) report(warning.pos[0], `not plain YAML: ${warning.message}`)
  if (!checkNodes(doc, report, placeOf)) return { data: undefined, problems, place }
  try {
    return { data: doc.toJS({ maxAliasCount: maxAliases }), problems, place }
  } catch (error) {
    // What is left for it to throw about is aliases: unknown ones, told above, and too many of them.
    if (!(error instanceof ReferenceError)) throw error
    if (problems.length === 0) report(0, `aliases expand to too much, allowed ${maxAliases} uses in all`)
    return { data: undefined, problems, place }
  }
}

/** Reports unsound aliases and keys, and takes those keys out; false when there are too many aliases to go on. */
function checkNodes(
  doc: Document,
  report: (offset: number, problem: string) => void,
  placeOf: (offset: number) => Place,
): boolean {
  let aliases = 0
  const anchors = new Set<string>()
  visit(doc, (_, node) => {
    if (isAlias(node)) {
      aliases++
      const at = node.range![0]
      if (aliases > maxAliases) {
        report(at, `found another alias after ${maxAliases}, allowed ${maxAliases} a file`)
        return visit.BREAK
      }
      if (!anchors.has(node.source)) report(at, `found *${node.source}, but there is no &${node.source} before it`)
    } else if (isNode(node) && node.anchor !== undefined) anchors.add(node.anchor)
    if (isMap(node)) {
      const lineOfKey = new Map<string, number>()
      node.items = node.items.filter(({ key }) => {
        const { line } = placeOf((key as Node).range![0])
        const problem = keyProblem(key as Node, lineOfKey)
        if (problem !== undefined) report((key as Node).range![0], problem)
        else lineOfKey.set(keyText(key as Node)!, line)
        return problem === undefined
      })
    }
    return undefined
  })
  return aliases <= maxAliases
}

/** What the key will be called in a plain object: 1 and "1" are the same there. */
const keyText = (key: Node): string | undefined => (isScalar(key) ? String(key.value) : undefined)

function keyProblem(key: Node, lineOfKey: ReadonlyMap<string, number>): string | undefined {
  const text = keyText(key)
  if (text === undefined) return 'found a list, a mapping or an alias as a key, allowed plain text'
  // Zod passes over it without a word, for it is no key of its own in a plain object.
  if (text === '__proto__') return 'found the key "__proto__", allowed other names'
  const first = lineOfKey.get(text)
  if (first === undefined) return undefined
  return `found the key ${quote(text)} a second time, allowed once (the first is on line ${first})`
}

function syntaxProblem(code: string, message: string): string {
  if (code === 'RESOURCE_EXHAUSTION') return 'nested too deeply'
  if (code === 'MULTIPLE_DOCS') return 'found a second document, allowed one a file'
  return `not YAML: ${message}`
}

function offsetOf(
  root: Node | null,
  path: Path,
  at: 'key' | 'value',
  resolve: (alias: Alias) => Node | undefined,
): number {
  let node: Node | null | undefined = root
  let offset = root?.range?.[0] ?? 0
  for (const [depth, step] of path.entries()) {
    if (isAlias(node)) node = resolve(node)
    let key: Node | undefined
    let next: Node | null | undefined
    if (isMap(node)) {
      const pair = node.items.find((item) => keyText(item.key as Node) === String(step))
      key = pair?.key as Node | undefined
      next = pair?.value as Node | null | undefined
    } else if (isSeq(node)) next = node.items[Number(step)] as Node | undefined
    const last = depth === path.length - 1
    const here = last && at === 'value' ? (isEmpty(next) ? (key ?? next) : next) : (key ?? next)
    if (!here?.range) return offset
    offset = here.range[0]
    node = next
  }
  return offset
}

/** `key:` with nothing behind it: its null stands where the colon ends, the key says more. */
const isEmpty = (node: Node | null | undefined): boolean =>
  !node || (isScalar(node) && node.value === null && node.source === '')
