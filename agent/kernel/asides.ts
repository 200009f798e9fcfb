/** Our tables of the families ip and ip6 (agent/plan/asides.ts), by nft(8). */
import type { Family } from '../../proto/model/address.js'
import { table } from '../plan/own.js'
import { loadText, type Netfilter } from './nft.js'
import type { ObservedAside } from './observed.js'
import type { Performers } from './step.js'
import { runTool, ToolFailed } from './tool.js'

const nameOf = (family: Family): string => (family === 4 ? 'ip' : 'ip6')

interface Listing {
  nftables: { rule?: { comment?: string } }[]
}

/** @param tables of the host: others may have tables of these families with very many rules, so that they aren't listed */
export function observeAsides(tables: Netfilter['tables']): Promise<ObservedAside[]> {
  const present = ([4, 6] as const).filter((family) =>
    tables.some((each) => each.family === nameOf(family) && each.name === table),
  )
  return Promise.all(
    present.map(async (family): Promise<ObservedAside> => {
      const { nftables } = JSON.parse(await runTool('nft', ['-j', 'list', 'table', nameOf(family), table])) as Listing
      const rules = nftables.flatMap(({ rule }) => rule ?? [])
      const marks = rules.flatMap(({ comment }) => /^fleetmove:([0-9a-f]+)$/.exec(comment ?? '')?.[1] ?? [])
      return { family, fingerprint: marks[0] ?? null, rules: rules.length }
    }),
  )
}

export const asidePerformers = (runDirectory: string): Pick<Performers, 'load-aside' | 'delete-aside'> => ({
  'load-aside': ({ aside }) => loadText(runDirectory, aside.text),

  'delete-aside': async ({ family }) => {
    try {
      await runTool('nft', ['delete', 'table', nameOf(family), table])
    } catch (error) {
      if (!(error instanceof ToolFailed && /No such file or directory/.test(error.stderr))) throw error
    }
  },
})
