/** The one rule of iptables' and ip6tables' that a hold needs where nf_tables has no queue. */
import { runTool } from '../kernel/tool.js'
import { xtablesRule } from './hold-rules.js'

const xtables = (verb: string, slot: number): string[] => ['-w', '-t', 'raw', verb, ...xtablesRule(slot)]
const isThere = (program: string, slot: number): Promise<boolean> =>
  runTool(program, xtables('-C', slot)).then(
    () => true,
    () => false,
  )

export async function addXtables(program: string, slot: number): Promise<void> {
  // One that a dead agent has left will do.
  if (!(await isThere(program, slot))) await runTool(program, xtables('-I', slot))
}

export async function removeXtables(program: string, slot: number): Promise<void> {
  while (await isThere(program, slot)) await runTool(program, xtables('-D', slot))
}

const rawTable = (program: string): string[] => ['table', program === 'iptables' ? 'ip' : 'ip6', 'raw']
const listRawTable = (program: string): Promise<string | null> =>
  runTool('nft', ['list', ...rawTable(program)]).catch(() => null)

/** Programs whose table `raw` comes with our first rule: iptables-nft makes it, and never takes it away. */
export async function withoutRawTable(programs: readonly string[]): Promise<string[]> {
  const found = await Promise.all(programs.map(listRawTable))
  return programs.filter((_, i) => found[i] === null)
}

/** Takes away a table that came with our rules, unless somebody else has come to use it meanwhile. */
export async function removeRawTable(program: string): Promise<void> {
  const found = await listRawTable(program)
  const lines = (found ?? '').split('\n').map((line) => line.trim())
  const isFrame = (line: string): boolean => /^(table |chain |type |#|\}|$)/.test(line)
  if (found !== null && lines.every(isFrame)) await runTool('nft', ['delete', ...rawTable(program)])
}
