/** Which bits of a packet's or connection's mark a firewall's rule sets, clears or looks for. Pure. */

const all = 0xffffffff
const unsigned = (bits: number): number => bits >>> 0
const hex = (text: string | undefined, otherwise: number): number => (text === undefined ? otherwise : Number(text))

/**
 * @param rule as iptables-save(8) or `nft list ruleset` prints it
 * @returns 0 where it has nothing to do with marks. A rule that writes a mark without a mask touches every bit of
 *   it, whatever it writes: ours would be gone. Of a comparison only the bits that it wants set count.
 */
export function markBits(rule: string): number {
  return unsigned(writtenByIptables(rule) | writtenByNft(rule) | soughtBits(rule))
}

/** iptables-extensions(8), MARK and CONNMARK: every way to write one is listed as one of these. */
function writtenByIptables(rule: string): number {
  const [, value, mask] = /--set-x?mark (\w+)(?:\/(\w+))?/.exec(rule) ?? []
  if (value !== undefined) return Number(value) | hex(mask, all)
  const [copied, connection, packet] =
    /--(?:save|restore)-mark(?=(?:.* --ctmask (\w+))?)(?=(?:.* --nfmask (\w+))?)/.exec(rule) ?? []
  return copied === undefined ? 0 : hex(connection, all) | hex(packet, all)
}

/** nft(8), "META EXPRESSIONS": `meta mark set meta mark & MASK | VALUE`, and older words for the same. */
function writtenByNft(rule: string): number {
  const [, written] = /\b(?:meta|ct) mark set (.*)/.exec(rule) ?? []
  if (written === undefined) return 0
  const [masked, kept, flipped] =
    /^(?:(?:meta|ct) )?mark (?:and|&) (0x[0-9a-f]+)(?: (?:xor|or|\^|\|) (0x[0-9a-f]+))?/.exec(written) ?? []
  if (masked !== undefined) return ~Number(kept) | hex(flipped, 0)
  const [, added] = /^(?:(?:meta|ct) )?mark (?:xor|or|\^|\|) (0x[0-9a-f]+)/.exec(written) ?? []
  return hex(added, all)
}

/** `--mark VALUE/MASK`, `meta mark & MASK == VALUE`, `ct mark VALUE`. */
function soughtBits(rule: string): number {
  const [, iptables] = / --mark (0x[0-9a-f]+)/.exec(rule) ?? []
  const [, nft] = /\bmark (?!set\b)(?:(?:and|&) 0x[0-9a-f]+ )?(?:[!=]= )?(0x[0-9a-f]+)/.exec(rule) ?? []
  return hex(iptables, 0) | hex(nft, 0)
}
