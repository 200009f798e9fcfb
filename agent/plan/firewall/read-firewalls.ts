/** What the tools of a host print about its firewalls → the chains that matter. The same for an agent and for facts. Pure. */
import type { FirewallTexts } from '../../../proto/model/facts.js'
import { type ForeignChain, type IptablesCommand, iptablesCommands } from './chain.js'
import { readIptables } from './read-iptables.js'
import { type NftChain, type NftListing, readNft } from './read-nft.js'

export function readFirewalls({ nft, iptables }: FirewallTexts): ForeignChain[] {
  const saves = iptables.filter(
    (save): save is { command: IptablesCommand; text: string } =>
      iptablesCommands.some((command) => command === save.command) && !isIncompatible(save.text),
  )
  // Rules of iptables-legacy aren't in nftables' tables.
  const kept = new Set<string>(
    saves.filter(({ command }) => !command.endsWith('-legacy')).map(({ command }) => familyNameOf(command)),
  )
  const leave = ({ family, table, name }: NftChain): boolean =>
    kept.has(family) && table === 'filter' && /^[A-Z]+$/.test(name)
  return [
    ...saves.flatMap(({ command, text }) => readIptables(command, text)),
    ...readNft(
      nft.map((text) => JSON.parse(text) as NftListing),
      leave,
    ),
  ]
}

export const familyNameOf = (command: string): 'ip' | 'ip6' => (command.startsWith('ip6') ? 'ip6' : 'ip')

/** Tables with iptables' names that hold what it can't show. */
const isIncompatible = (text: string): boolean => /is incompatible, use 'nft' tool/.test(text)
