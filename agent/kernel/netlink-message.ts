/**
 * Netlink messages and attributes as bytes (RFC 3549; include/uapi/linux/netlink.h). Numbers are in the
 * host's order, which is little-endian on every platform that the netlink package is built for; the
 * `be` variants are for the few attributes that the kernel wants in network order.
 */

export interface NetlinkMessage {
  type: number
  flags: number
  seq: number
  /** All that follows the 16-byte header: a fixed struct of the message's type, then attributes. */
  payload: Buffer
}

/** nlmsg_flags. DUMP is ROOT | MATCH; EXCL, CREATE and REPLACE hold for NEW requests only. */
export const flag = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  dumpInterrupted: 0x10,
  replace: 0x100,
  dump: 0x300,
  excl: 0x200,
  create: 0x400,
  append: 0x800,
} as const

/** Control messages that stand below every protocol's own types. */
export const control = { error: 2, done: 3 } as const

const headerLength = 16
const align = (length: number): number => (length + 3) & ~3

export const u8 = (value: number): Buffer => Buffer.from([value])

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(value)
  return bytes
}

export function u16be(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

export function u32be(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** NUL-terminated, as NLA_NUL_STRING wants it. */
export const text = (value: string): Buffer => Buffer.from(`${value}\0`, 'utf8')

/** The inverse of `text`; a missing NUL is allowed, since the kernel leaves it out here and there. */
export function readText(bytes: Buffer): string {
  const end = bytes.indexOf(0)
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end)
}

/** One attribute, padded to four bytes. */
export function attribute(type: number, value: Buffer): Buffer {
  const length = 4 + value.length
  const bytes = Buffer.alloc(align(length))
  bytes.writeUInt16LE(length, 0)
  bytes.writeUInt16LE(type, 2)
  value.copy(bytes, 4)
  return bytes
}

/** NLA_F_NESTED: families with strict checking answer EINVAL to a nest without it. */
const nestedFlag = 0x8000
const typeMask = 0x3fff

export const nest = (type: number, ...attributes: Buffer[]): Buffer =>
  attribute(type | nestedFlag, Buffer.concat(attributes))

/** Attributes by type; of a type that comes twice the last one stands. Stops at the first malformed one. */
export function readAttributes(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>()
  let offset = 0
  while (offset + 4 <= bytes.length) {
    const length = bytes.readUInt16LE(offset)
    if (length < 4 || offset + length > bytes.length) break
    found.set(bytes.readUInt16LE(offset + 2) & typeMask, bytes.subarray(offset + 4, offset + length))
    offset += align(length)
  }
  return found
}

/** The bytes of one request to the kernel (nlmsg_pid 0: the kernel fills in the socket's own). */
export function encodeMessage(message: NetlinkMessage): Buffer {
  const bytes = Buffer.alloc(headerLength + message.payload.length)
  bytes.writeUInt32LE(bytes.length, 0)
  bytes.writeUInt16LE(message.type, 4)
  bytes.writeUInt16LE(message.flags, 6)
  bytes.writeUInt32LE(message.seq, 8)
  message.payload.copy(bytes, headerLength)
  return bytes
}

/**
 * The messages of one datagram. Payloads share its memory.
 * @throws Error where a length in it is impossible.
 */
export function decodeMessages(datagram: Buffer): NetlinkMessage[] {
  const messages: NetlinkMessage[] = []
  let offset = 0
  while (offset + headerLength <= datagram.length) {
    const length = datagram.readUInt32LE(offset)
    if (length < headerLength || offset + length > datagram.length) {
      throw new Error(`netlink message of ${length} bytes at offset ${offset} of a datagram of ${datagram.length}`)
    }
    messages.push({
      type: datagram.readUInt16LE(offset + 4),
      flags: datagram.readUInt16LE(offset + 6),
      seq: datagram.readUInt32LE(offset + 8),
      payload: datagram.subarray(offset + headerLength, offset + length),
    })
    offset += align(length)
  }
  return messages
}
