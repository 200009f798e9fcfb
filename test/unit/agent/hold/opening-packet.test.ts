import fc from 'fast-check'
import { readOpening } from '../../../../agent/hold/opening-packet.js'

const flags = { syn: 0x02, ack: 0x10, rst: 0x04, ece: 0x40, cwr: 0x80 }
const tcp = (source: number, sequence: number, flag: number): Buffer => {
  const bytes = Buffer.alloc(40)
  bytes.writeUInt16BE(source, 0)
  bytes.writeUInt16BE(443, 2)
  bytes.writeUInt32BE(sequence, 4)
  bytes[13] = flag
  return bytes
}
const ip4 = (protocol: number, payload: Buffer, options = 0, client = 2): Buffer => {
  const header = Buffer.alloc(20 + options)
  header[0] = 0x40 | (header.length / 4)
  header.writeUInt16BE(header.length + payload.length, 2)
  header[9] = protocol
  header.set([198, 51, 100, client, 203, 0, 113, 10], 12)
  return Buffer.concat([header, payload])
}
const ip6 = (next: number, payload: Buffer): Buffer => {
  const header = Buffer.alloc(40)
  header[0] = 0x60
  header.writeUInt16BE(payload.length, 4)
  header[6] = next
  header[23] = 1
  header[39] = 10
  return Buffer.concat([header, payload])
}
/** Destination options of 16 bytes. */
const withOptions = (next: number, payload: Buffer): Buffer =>
  Buffer.concat([Buffer.from([next, 1]), Buffer.alloc(14), payload])

const flowOf = (packet: Buffer): string => {
  const opening = readOpening(packet)
  if (opening.kind !== 'syn') throw new Error(`not a SYN but ${opening.kind}`)
  return opening.flow
}

test('one client socket is one flow, whatever its sequence number and the options of IP', () => {
  const flow = flowOf(ip4(6, tcp(50_000, 1, flags.syn)))
  expect(flowOf(ip4(6, tcp(50_000, 77, flags.syn), 8))).toBe(flow)
  expect(flowOf(ip4(6, tcp(50_001, 1, flags.syn)))).not.toBe(flow)
  expect(flowOf(ip4(6, tcp(50_000, 1, flags.syn), 0, 3))).not.toBe(flow)
})

test('IPv6, behind extension headers too', () => {
  const flow = flowOf(ip6(6, tcp(50_000, 1, flags.syn)))
  expect(flowOf(ip6(60, withOptions(6, tcp(50_000, 2, flags.syn))))).toBe(flow)
  expect(flowOf(ip6(0, withOptions(60, withOptions(6, tcp(50_000, 2, flags.syn)))))).toBe(flow)
})

test('only what opens a connection is a SYN; one that offers ECN is', () => {
  expect(readOpening(ip4(6, tcp(1, 1, flags.syn | flags.ece | flags.cwr))).kind).toBe('syn')
  for (const flag of [flags.ack, flags.syn | flags.ack, flags.rst, 0]) {
    expect(readOpening(ip4(6, tcp(1, 1, flag)))).toEqual({ kind: 'other' })
  }
  expect(readOpening(ip4(1, Buffer.alloc(8)))).toEqual({ kind: 'other' })
})

test('a datagram counts with all its bytes, though fewer are read', () => {
  expect(readOpening(ip4(17, Buffer.alloc(1008)).subarray(0, 128))).toEqual({ kind: 'datagram', bytes: 1028 })
  expect(readOpening(ip6(17, Buffer.alloc(1008)).subarray(0, 128))).toEqual({ kind: 'datagram', bytes: 1048 })
})

test('no bytes make it fail', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 128 }), (bytes) => {
      expect(['syn', 'datagram', 'other']).toContain(readOpening(Buffer.from(bytes)).kind)
    }),
  )
})
