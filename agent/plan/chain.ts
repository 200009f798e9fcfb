/** Chains and rules as text, and what more than one file writes into them. Pure; nft(8). */
import { markMask, table } from './own.js'

export const hex = (value: number): string => `0x${(value >>> 0).toString(16).padStart(8, '0')}`
/** The bits of marks that aren't ours. */
export const others = hex(~markMask)
export const setConnectionMark = (mark: number): string => `ct mark set ct mark & ${others} | ${hex(mark)}`
export const setRoutingMark = (mark: number): string => `meta mark set meta mark & ${others} | ${hex(mark)}`
/** A chain, and what stands in it. */
export interface Part {
  chain: string
  declaration: string
  rules: string[]
}

/** One that others jump to. */
export const chainOf = (target: Pick<Part, 'chain' | 'rules'>): Part => ({
  chain: target.chain,
  declaration: `add chain inet ${table} ${target.chain}`,
  rules: target.rules,
})

/** One that hangs in a hook of netfilter. */
export function base(chain: string, hook: string, rules: string[]): Part {
  return { chain, declaration: `add chain inet ${table} ${chain} { ${hook}; policy accept; }`, rules }
}

/** Chains of all services together, which the frame enters. */
export const [egressChain, ownEgressChain, carryChain, strangersChain] = ['egress', 'own-egress', 'carry', 'strangers']
export const [helpersChain, unzonedChain, darkChain] = ['helpers', 'unzoned', 'dark']
