/** Reading what ctnetlink sends by offsets, for dumps of 100,000 entries. */

/** Without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const typeMask = 0x3fff

/** As `readAttributes`, by offsets into the whole: calls `take` with where each value starts and ends. */
export function eachAttribute(
  bytes: Buffer,
  from: number,
  to: number,
  take: (type: number, start: number, end: number) => void,
): void {
  let offset = from
  while (offset + 4 <= to) {
    const length = bytes.readUInt16LE(offset)
    if (length < 4 || offset + length > to) return
    take(bytes.readUInt16LE(offset + 2) & typeMask, offset + 4, offset + length)
    offset += (length + 3) & ~3
  }
}

/** CTA_TIMESTAMP_START (1) and _STOP (2), nanoseconds since 1970. */
export function decodeTimes(bytes: Buffer, from: number, to: number): { start: number; stop: number } {
  const times = { start: 0, stop: 0 }
  eachAttribute(bytes, from, to, (type, start) => {
    const ms = Number(bytes.readBigUInt64BE(start) / 1_000_000n)
    if (type === 1) times.start = ms
    else if (type === 2) times.stop = ms
  })
  return times
}
