/** How this host can hold, found out without touching its own rules. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runTool } from '../kernel/tool.js'
import { type HoldMeans, probeQueueText, xtablesRule } from './hold-rules.js'

const passes = (tool: string, args: readonly string[]): Promise<boolean> =>
  runTool(tool, args).then(
    () => true,
    () => false,
  )

/** The best means that nft, iptables and the kernel have together; 'drop' needs nothing but nf_tables. */
export async function findHoldMeans(): Promise<HoldMeans> {
  const directory = await mkdtemp(join(tmpdir(), 'fleetmove-hold-'))
  try {
    const file = join(directory, 'probe.nft')
    await writeFile(file, probeQueueText())
    if (await passes('nft', ['-c', '-f', file])) return 'nft-queue'
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
  // In a network namespace that ends with the command: iptables can't merely check.
  const both = ['iptables', 'ip6tables'].map((program) =>
    passes('unshare', ['--net', program, '-w', '-t', 'raw', '-I', ...xtablesRule(0)]),
  )
  return (await Promise.all(both)).every(Boolean) ? 'xtables-queue' : 'drop'
}
