/** How this host can hold, found out without touching its own rules. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runOutside } from '../kernel/outside.js'
import { runTool } from '../kernel/tool.js'
import { paths } from '../plan/own.js'
import { type HoldMeans, probeQueueText, xtablesRule } from './hold-rules.js'

const succeeds = (run: Promise<string>): Promise<boolean> =>
  run.then(
    () => true,
    () => false,
  )

/** The best means that nft, iptables and the kernel have together; 'drop' needs nothing but nf_tables. */
export async function findHoldMeans(): Promise<HoldMeans> {
  await mkdir(paths.run, { recursive: true, mode: 0o700 })
  const directory = await mkdtemp(join(paths.run, 'hold-'))
  try {
    const file = join(directory, 'probe.nft')
    await writeFile(file, probeQueueText())
    if (await succeeds(runTool('nft', ['-c', '-f', file]))) return 'nft-queue'
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
  // In a network namespace that ends with the command: iptables can't merely check, and the agent makes none.
  const both = ['iptables', 'ip6tables'].map((program) =>
    succeeds(runOutside('unshare', ['--net', program, '-w', '-t', 'raw', '-I', ...xtablesRule(0)])),
  )
  return (await Promise.all(both)).every(Boolean) ? 'xtables-queue' : 'drop'
}
