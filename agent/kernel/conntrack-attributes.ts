/** Reading what ctnetlink sends by offsets, for dumps of 100,000 entries. */

/** enum ctattr_type. */
export const cta = {
  original: 1,
  reply: 2,
  status: 3,
  protoInfo: 4,
  timeout: 7,
  mark: 8,
  countersOriginal: 9,
  countersReply: 10,
  id: 12,
  zone: 18,
  timestamp: 20,
  markMask: 21,
  filter: 25,
  statusMask: 26,
} as const
/** enum ctattr_tuple, ctattr_ip, ctattr_l4proto. */
export const tupleAttribute = { ip: 1, proto: 2, zone: 3 } as const
export const ipAttribute = { source4: 1, destination4: 2, source6: 3, destination6: 4 } as const
export const protoAttribute = { number: 1, sourcePort: 2, destinationPort: 3 } as const
/** enum ctattr_filter, and the bits of its flags: CTA_FILTER_F_… in net/netfilter/nf_internals.h (Linux 5.8). */
export const filterAttribute = { originalFlags: 1, replyFlags: 2 } as const
export const filterFlag = {
  source: 0x1,
  destination: 0x2,
  protocolNumber: 0x8,
  sourcePort: 0x10,
  destinationPort: 0x20,
} as const

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
