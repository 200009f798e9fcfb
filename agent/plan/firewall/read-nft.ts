/** Chains of nftables that are not iptables', from what `nft -j -t list ruleset` prints (libnftables-json(5)). Pure. */
import type { Family } from '../../../proto/model/address.js'
import { table as ourTable } from '../own.js'
import { type ForeignChain, type ForeignRule, type Hook, isInnerDevice, judgeChain, type Verdict } from './chain.js'

export interface NftChain {
  family: string
  table: string
  name: string
  type?: string
  hook?: string
  policy?: string
}
interface NftRule {
  family: string
  table: string
  chain: string
  handle: number
  comment?: string
  expr?: Statement[]
}
type Statement = { [kind: string]: unknown } | string

export interface NftListing {
  nftables: { chain?: NftChain; rule?: NftRule }[]
}

/** Base chains that could be in our way, and are nobody's of ours. */
export const isForeign = ({ family, table, type, hook }: NftChain): boolean =>
  ['ip', 'ip6', 'inet'].includes(family) &&
  table !== ourTable &&
  type === 'filter' &&
  ['input', 'forward', 'prerouting'].includes(hook ?? '')

/** @param leave chains that iptables keeps */
export function readNft(listings: readonly NftListing[], leave: (chain: NftChain) => boolean): ForeignChain[] {
  const items = listings.flatMap(({ nftables }) => nftables)
  const bases = items.flatMap(({ chain }) => (chain && isForeign(chain) && !leave(chain) ? [chain] : []))
  return bases.flatMap((base) => {
    const hook = base.hook as Hook
    const chains = new Map<string, ForeignRule[]>()
    for (const { rule } of items) {
      if (rule?.family !== base.family || rule.table !== base.table) continue
      chains.set(rule.chain, [...(chains.get(rule.chain) ?? []), ...rulesOf(rule, hook)])
    }
    const family = base.family as 'ip' | 'ip6' | 'inet'
    return judgeChain(
      {
        place: { by: 'nft', family, table: base.table, chain: base.name },
        hook,
        families: familiesOf[family],
        policyDrops: base.policy === 'drop',
      },
      chains,
    )
  })
}

const familiesOf: Record<'ip' | 'ip6' | 'inet', Family[]> = { ip: [4], ip6: [6], inet: [4, 6] }

/** One for each verdict that a rule can end in: verdict maps have several. */
function rulesOf({ handle, comment = '', expr = [] }: NftRule, hook: Hook): ForeignRule[] {
  const rule = { at: handle, narrow: false, always: true, comment, words: [] }
  const verdicts: Pick<ForeignRule, 'narrow' | 'always' | 'verdict'>[] = []
  for (const statement of expr) {
    const [kind, value] =
      typeof statement === 'string' ? [statement, null] : (Object.entries(statement)[0] ?? ['', null])
    if (kind === 'match') {
      rule.always = false
      rule.narrow ||= isNarrow(value as Match, hook)
    } else if (kind === 'limit') {
      rule.always = false
      rule.narrow = true
    } else if (kind === 'vmap') {
      for (const [key, verdict] of elementsOf(value as Vmap))
        verdicts.push({
          always: false,
          narrow: rule.narrow || isNarrow({ op: '==', left: (value as Vmap).key, right: key }, hook),
          verdict: verdictOf(verdict),
        })
    } else {
      const verdict = verdictOf({ [kind]: value })
      if (verdict !== 'none') verdicts.push({ always: rule.always, narrow: rule.narrow, verdict })
    }
  }
  if (verdicts.length === 0) return [{ ...rule, verdict: 'none' }]
  return verdicts.map((each) => ({ ...rule, ...each }))
}

interface Match {
  op: string
  left: unknown
  right: unknown
}
interface Vmap {
  key: unknown
  data: { set?: [unknown, Statement][] } | string
}

/** Named verdict maps aren't read: their elements are left out of the listing. */
const elementsOf = ({ data }: Vmap): [unknown, Statement][] => (typeof data === 'string' ? [] : (data.set ?? []))

function verdictOf(statement: Statement): Verdict {
  const [kind, value] = typeof statement === 'string' ? [statement, null] : (Object.entries(statement)[0] ?? ['', null])
  if (kind === 'drop' || kind === 'reject') return 'drop'
  if (kind === 'accept' || kind === 'return') return kind
  if (kind === 'jump' || kind === 'goto') return { to: (value as { target: string }).target, goto: kind === 'goto' }
  return 'none'
}

function isNarrow({ op, left, right }: Match, hook: Hook): boolean {
  const { meta, ct, fib } = left as {
    meta?: { key: string }
    ct?: { key: string }
    fib?: { flags: string | string[] }
  }
  const values = valuesOf(right)
  if (meta?.key === 'iifname' || meta?.key === 'oifname')
    return op !== '!=' && values.every((name) => isInnerDevice(String(name)))
  if (meta?.key === 'nfproto') return false
  if (meta?.key === 'l4proto') return !values.some((name) => name === 'tcp' || name === 'udp')
  if (ct?.key === 'state') return values.includes('new') === (op === '!=')
  // A strict check of the reverse path: what comes by a tunnel has its way back elsewhere.
  if (fib !== undefined && hook === 'prerouting') return ![fib.flags].flat().includes('iif')
  return true
}

const valuesOf = (right: unknown): unknown[] => {
  const { set } = (right ?? {}) as { set?: unknown[] }
  return set ?? (Array.isArray(right) ? right : [right])
}
