/** The lines of `nft -nn monitor trace` (nft(8), "MONITOR"). */

/** One look of one chain at one packet. */
export interface TraceHop {
  /** The kernel's number of the packet on this host; after a tunnel it is another packet. */
  packet: string
  family: string
  table: string
  chain: string
  /**
   * - `packet`: it enters the hook, as `text` describes it
   * - `rule`: the rule in `text` matched
   * - `policy`: no rule decided
   */
  kind: 'packet' | 'rule' | 'policy'
  /** accept, drop, continue, jump …, goto …, return, queue; '' for a packet. */
  verdict: string
  text: string
}

const longestText = 600

/** @returns null for a line that says nothing new */
export function parseTraceLine(line: string): TraceHop | null {
  const match = /^trace id ([0-9a-f]+) (\S+) (\S+) (\S+) (packet:|rule|verdict|policy) ?(.*)$/.exec(line.trim())
  if (!match) return null
  const [, packet, family, table, chain, what, rest] = match as unknown as string[]
  const where = { packet: packet!, family: family!, table: table!, chain: chain! }
  const text = rest!.slice(0, longestText)
  if (what === 'packet:') return { ...where, kind: 'packet', verdict: '', text }
  // The last one of each hook is ours (trace-rules.ts), and tells that the packet came so far.
  if (what === 'policy') return { ...where, kind: 'policy', verdict: text, text: '' }
  // "verdict continue" ends a chain without a decision; "verdict accept" repeats a rule's.
  if (what === 'verdict') return null
  const rule = /^(.*) \(verdict ([^()]+)\)$/.exec(rest!)
  return rule ? { ...where, kind: 'rule', verdict: rule[2]!, text: rule[1]!.slice(0, longestText) } : null
}
