/** What stands in a Markdown file for people to write or to type. */
import { parse, stringify } from 'yaml'
import { buildProgram } from '../../cli/program.js'

export interface Block {
  /** Behind the fence; empty where there is none. */
  language: string
  /** Of its first line, from 1. */
  line: number
  text: string
}

/** Fenced blocks, without the indentation of a list that they stand in. */
export function fencedBlocks(markdown: string): Block[] {
  const blocks: Block[] = []
  let open: { block: Block; lines: string[]; indent: number } | undefined
  for (const [i, line] of markdown.split('\n').entries()) {
    const fence = /^( *)```(\w*)\s*$/.exec(line)
    if (fence && open) {
      open.block.text = open.lines.map((each) => each.slice(Math.min(open!.indent, each.search(/\S|$/)))).join('\n')
      blocks.push(open.block)
      open = undefined
    } else if (fence)
      open = { block: { language: fence[2]!, line: i + 2, text: '' }, lines: [], indent: fence[1]!.length }
    else open?.lines.push(line)
  }
  return blocks
}

export interface CommandLine {
  /** From 1. */
  line: number
  /** Behind `fleetmove`. */
  words: string[]
  /** Speaks of a command by its name, in running text: it needs no arguments there. */
  mention: boolean
}

const commands = buildProgram().commands.map((command) => command.name())

/** Command lines of fleetmove in blocks that aren't YAML or JSON, and in running text between backticks. */
export function commandLines(markdown: string): CommandLine[] {
  const found: CommandLine[] = []
  const inBlock = new Set<number>()
  for (const { language, line, text } of fencedBlocks(markdown)) {
    for (const [i, each] of text.split('\n').entries()) {
      inBlock.add(line + i)
      if (!['yaml', 'json'].includes(language))
        found.push(...invocations(each).map((words) => ({ line: line + i, words, mention: false })))
    }
  }
  for (const [i, each] of markdown.split('\n').entries()) {
    if (inBlock.has(i + 1)) continue
    for (const [, code] of each.matchAll(/`([^`]+)`/g)) {
      found.push(...invocations(code!).map((words) => ({ line: i + 1, words, mention: true })))
      // `dns switch --back`: a command by its name alone, where an option tells that it is one.
      const words = shellWords(code!)
      if (commands.includes(words[0]!) && words.some((word) => word.startsWith('-')))
        found.push({ line: i + 1, words, mention: true })
    }
  }
  return found
}

/** What a shell would run of fleetmove in a line: each with its own words. */
function invocations(line: string): string[][] {
  // A picture's box or arrow is no command line.
  if (/[▶◀═─│]/.test(line)) return []
  return (
    line
      .replace(/(^|\s)#.*$/, '')
      .split(/\|\||&&|[|;()]/)
      .flatMap((part) => part.split(/(?:^|\s)(?:fleetmove|node dist\/cli\/main\.js)(?:\s+|$)/).slice(1))
      .map(shellWords)
      // Nothing behind it: the program's name in a sentence.
      .filter((words) => words.length > 0)
  )
}

/** Quotes and redirections as in a shell. */
function shellWords(text: string): string[] {
  const words = [...text.matchAll(/"([^"]*)"|'([^']*)'|[^\s"']+/g)].map(
    ([word, double, single]) => double ?? single ?? word,
  )
  const end = words.findIndex((word) => /^[<>]/.test(word))
  return (end === -1 ? words : words.slice(0, end)).filter((word) => word !== '…' && word !== '')
}

export interface LinkTarget {
  path: string
  anchor: string | undefined
}

/** Links that stay within the repository. */
export const linkTargets = (markdown: string): LinkTarget[] =>
  [...markdown.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target!)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => ({ path: target.split('#')[0]!, anchor: target.split('#')[1] }))

const hosts = {
  old: { ssh: 'root@203.0.113.10', addresses: ['203.0.113.10'] },
  new: { ssh: 'root@198.51.100.20', addresses: ['198.51.100.20'] },
}
const services = { other: { from: 'old', to: 'new', listen: ['tcp/9'] } }
const topLevel = ['fleet', 'hosts', 'tunnel', 'services', 'dns', 'log', 'vantages']

/** A fleet.yaml as it stands, or a part of one within a fleet of two hosts. */
export function wholeFleet(yaml: string): { complete: boolean; yaml: string } {
  if (/^fleet:/m.test(yaml)) return { complete: true, yaml }
  const part = parse(yaml) as Record<string, unknown>
  const keys = Object.keys(part)
  const within = keys.some((key) => topLevel.includes(key)) ? part : { services: part }
  return { complete: false, yaml: stringify({ fleet: 'part', hosts, services, ...within }) }
}
