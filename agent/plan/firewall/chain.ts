/**
 * Chains of other firewalls on this host, as far as they matter to us: where would they drop what belongs
 * to the move, and which rules of ours stand there already? Pure.
 */
import type { Family } from '../../../proto/model/address.js'

export type Hook = 'input' | 'forward' | 'prerouting'

/** A base chain, and who keeps it: rules of iptables are read and written by iptables alone. */
export type Place =
  | { by: 'iptables'; command: IptablesCommand; chain: string }
  | { by: 'nft'; family: 'ip' | 'ip6' | 'inet'; table: string; chain: string }

export const iptablesCommands = [
  'iptables',
  'ip6tables',
  'iptables-nft',
  'ip6tables-nft',
  'iptables-legacy',
  'ip6tables-legacy',
] as const
export type IptablesCommand = (typeof iptablesCommands)[number]

export interface ForeignChain {
  place: Place
  hook: Hook
  /** Of the packets that pass it. */
  families: Family[]
  /**
   * What must be met before it drops: a rule (its number for iptables, its handle for nft), or 0 for
   * what drops behind all rules, the policy. null: nothing drops whatever isn't let in by name.
   */
  dropsAt: number | null
  ours: OurRule[]
}

export interface OurRule {
  /** Tells what it lets pass (allow.ts). */
  comment: string
  /** It stands before what drops. */
  effective: boolean
  /** Arguments of iptables that describe it, for its removal; empty for nft. */
  words: string[]
}

/** One rule of theirs. */
export interface ForeignRule {
  /** Number or handle. */
  at: number
  /**
   * It may concern only some of the packets that we care for: by their address, port, rate… Such drops
   * (bans, limits) are the operator's will. Conditions on devices, protocols and new connections don't count.
   */
  narrow: boolean
  /** No condition at all. */
  always: boolean
  verdict: Verdict
  comment: string
  words: string[]
}

export type Verdict = 'accept' | 'drop' | 'return' | 'none' | { to: string; goto: boolean }

/** Ours bear this, and then what they let pass. */
export const tag = 'fleetmove '

/**
 * @param chains every chain of the table by name
 * @param policyDrops what the base chain does with what no rule decides on
 */
export function judgeChain(
  base: Pick<ForeignChain, 'place' | 'hook' | 'families'> & { policyDrops: boolean },
  chains: ReadonlyMap<string, readonly ForeignRule[]>,
): ForeignChain {
  const { policyDrops, ...rest } = base
  const rules = chains.get(base.place.chain) ?? []
  const dropsAt = firstDrop(rules, chains) ?? (policyDrops && !rules.some(isLetAll) ? 0 : null)
  const drop = rules.findIndex((rule) => rule.at === dropsAt)
  return {
    ...rest,
    dropsAt,
    ours: rules.flatMap(({ comment, words }, i) =>
      comment.startsWith(tag) ? [{ comment, words, effective: drop === -1 || i < drop }] : [],
    ),
  }
}

const isLetAll = ({ always, verdict }: ForeignRule): boolean => always && verdict === 'accept'

function firstDrop(
  rules: readonly ForeignRule[],
  chains: ReadonlyMap<string, readonly ForeignRule[]>,
): number | undefined {
  for (const rule of rules) {
    if (mayDrop(rule, chains, new Set())) return rule.at
    if (isLetAll(rule)) return undefined
  }
  return undefined
}

function mayDrop(
  rule: ForeignRule,
  chains: ReadonlyMap<string, readonly ForeignRule[]>,
  seen: ReadonlySet<string>,
): boolean {
  if (rule.narrow || rule.comment.startsWith(tag)) return false
  if (rule.verdict === 'drop') return true
  if (typeof rule.verdict !== 'object' || seen.has(rule.verdict.to)) return false
  const inside = new Set([...seen, rule.verdict.to])
  for (const inner of chains.get(rule.verdict.to) ?? []) {
    if (mayDrop(inner, chains, inside)) return true
    // What always decides ends the chain.
    if (inner.always && inner.verdict !== 'none' && (typeof inner.verdict === 'string' || inner.verdict.goto))
      return false
  }
  return false
}

/** Bridges and links of containers and VPNs: what is dropped on its way to them isn't on ours. */
export const isInnerDevice = (name: string): boolean =>
  /^(lo|docker|br-|veth|virbr|lxc|cni|cali|flannel|cilium|tailscale|podman|incusbr)/.test(name)
