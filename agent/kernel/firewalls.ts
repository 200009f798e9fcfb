/**
 * Other firewalls of this host: their chains as nft(8) and iptables-save(8) show them, and our rules in
 * them. Whose chain it is, decides who writes it: iptables-save could not read a rule that nft has put
 * into one of its chains.
 */
import { readFile } from 'node:fs/promises'
import { addition, iptablesWait } from '../plan/firewall/addition.js'
import type { FirewallRule } from '../plan/firewall/allow.js'
import { commentOf, iptablesWords } from '../plan/firewall/allow.js'
import type { ForeignChain, IptablesCommand, Place } from '../plan/firewall/chain.js'
import { familyNameOf, readFirewalls } from '../plan/firewall/read-firewalls.js'
import { isForeign, type NftChain } from '../plan/firewall/read-nft.js'
import { listFamily } from './nft.js'
import type { Performers } from './step.js'
import { runTool, ToolFailed, ToolMissing } from './tool.js'

interface Listing {
  nftables: { rule?: { handle: number; chain: string; comment?: string } }[]
}

/**
 * @param inet what stands in the family inet, as nft prints it
 * @param all chains of all families
 */
export async function observeFirewalls(inet: string, all: readonly NftChain[]): Promise<ForeignChain[]> {
  const chains = all.filter(isForeign)
  const families = (['ip', 'ip6'] as const).filter((family) => chains.some((chain) => chain.family === family))
  const saves = (
    await Promise.all([
      ...families
        .filter((family) => chains.some((chain) => chain.family === family && chain.table === 'filter'))
        .map((family) => save(family === 'ip' ? 'iptables' : 'ip6tables', 'nft')),
      ...(['iptables', 'ip6tables'] as const).map((command) => legacySave(command)),
    ])
  ).flatMap((found) => found ?? [])
  // Kubernetes has thousands of rules in these families, but no chain of its own that filters beside iptables'.
  const others = families.filter((family) =>
    chains.some(
      (chain) =>
        chain.family === family &&
        !(chain.table === 'filter' && saves.some(({ command }) => familyNameOf(command) === family)),
    ),
  )
  const own = chains.some((chain) => chain.family === 'inet') ? [inet] : []
  return readFirewalls({ nft: [...own, ...(await Promise.all(others.map(listFamily)))], iptables: saves })
}

type Save = { command: IptablesCommand; text: string }

/** The table is there: asking for one that isn't would make it. */
async function save(command: 'iptables' | 'ip6tables', kind: 'nft' | 'legacy'): Promise<Save | null> {
  for (const name of [`${command}-${kind}`, command] as const) {
    try {
      return { command: name, text: await runTool(`${name}-save`, ['-t', 'filter']) }
    } catch (error) {
      if (!(error instanceof ToolMissing)) throw error
    }
  }
  return null
}

async function legacySave(command: 'iptables' | 'ip6tables'): Promise<Save | null> {
  const names = await readFile(`/proc/net/${command === 'iptables' ? 'ip' : 'ip6'}_tables_names`, 'utf8').catch(
    () => '',
  )
  return names.split('\n').includes('filter') ? save(command, 'legacy') : null
}

/** By iptables it is found by its words alone; there is no harm in two, but one would be left. */
async function stands({ place, allow }: FirewallRule): Promise<boolean> {
  if (place.by === 'nft') return (await handlesOf(place, commentOf(allow))).length > 0
  const check = [...iptablesWait, '-C', place.chain, ...iptablesWords(allow)]
  return runTool(place.command, check).then(
    () => true,
    (error: unknown) => {
      if (error instanceof ToolFailed) return false
      throw error
    },
  )
}

const isGone = /No such file or directory|does a matching rule exist|No chain\/target\/match/

export const firewallPerformers: Pick<Performers, 'add-firewall-rule' | 'remove-firewall-rule'> = {
  'add-firewall-rule': async ({ rule }) => {
    if (await stands(rule)) return
    await runTool(...addition(rule))
  },

  'remove-firewall-rule': async ({ place, comment, words }) => {
    try {
      if (place.by === 'iptables') await runTool(place.command, [...iptablesWait, '-D', place.chain, ...words])
      else for (const handle of await handlesOf(place, comment)) await deleteRule(place, handle)
    } catch (error) {
      if (!(error instanceof ToolFailed && isGone.test(error.stderr))) throw error
    }
  },
}

type NftPlace = Extract<Place, { by: 'nft' }>

async function handlesOf({ family, table, chain }: NftPlace, comment: string): Promise<number[]> {
  const listing = JSON.parse(await runTool('nft', ['-j', '-t', 'list', 'chain', family, table, chain])) as Listing
  return listing.nftables.flatMap(({ rule }) => (rule?.comment === comment ? [rule.handle] : []))
}

const deleteRule = ({ family, table, chain }: NftPlace, handle: number): Promise<string> =>
  runTool('nft', ['delete', 'rule', family, table, chain, 'handle', `${handle}`])
