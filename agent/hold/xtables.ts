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
  if ((await listRawTable(program)) === null) madeRawTable.add(program)
  // One that a dead agent has left will do.
  if (!(await isThere(program, slot))) await runTool(program, xtables('-I', slot))
}

export async function removeXtables(program: string, slot: number): Promise<void> {
  while (await isThere(program, slot)) await runTool(program, xtables('-D', slot))
}

/** Programs whose table `raw` came with our first rule: iptables-nft makes it, and never takes it away. */
const madeRawTable = new Set<string>()
const rawTable = (program: string): string[] => ['table', program === 'iptables' ? 'ip' : 'ip6', 'raw']
const listRawTable = (program: string): Promise<string | null> =>
  runTool('nft', ['list', ...rawTable(program)]).catch(() => null)

/** Takes away the tables that came with our rules, unless somebody else has come to use them meanwhile. */
export async function removeRawTables(): Promise<void> {
  for (const program of madeRawTable) {
    const found = await listRawTable(program)
    const lines = (found ?? '').split('\n').map((line) => line.trim())
    const isFrame = (line: string): boolean => /^(table |chain |type |#|\}|$)/.test(line)
    if (found !== null && lines.every(isFrame)) await runTool('nft', ['delete', ...rawTable(program)])
  }
  madeRawTable.clear()
}
