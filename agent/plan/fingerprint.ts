/**
 * A short name for a text: two FNV-1a hashes of 32 bits with different seeds, as 16 hex digits. It
 * finds change, it doesn't resist an attacker (who could write the table itself anyway).
 */
export function fingerprint(text: string): string {
  let a = 0x811c9dc5
  let b = 0x9747b28c
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    a = Math.imul(a ^ code, 0x01000193)
    b = Math.imul(b ^ code, 0x01000193)
    b ^= b >>> 13
  }
  return [a, b].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('')
}
