import fc from 'fast-check'
import {
  attribute,
  decodeMessages,
  encodeMessage,
  nest,
  readAttributes,
  readText,
  text,
  u8,
  u16be,
  u32,
} from '../../../../agent/kernel/netlink-message.js'

describe('attributes', () => {
  test('are padded to four bytes, and their length is not', () => {
    expect(attribute(3, text('lo')).toString('hex')).toBe('070003006c6f0000')
    expect(attribute(15, u16be(4789)).toString('hex')).toBe('06000f0012b50000')
  })

  test('a nest bears NLA_F_NESTED, which reading takes off again', () => {
    const bytes = nest(18, attribute(1, u8(7)))
    expect(bytes.readUInt16LE(2)).toBe(0x8012)
    expect(readAttributes(readAttributes(bytes).get(18)!).get(1)).toEqual(u8(7))
  })

  test('whatever was written is read', () => {
    const values = fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 0x3fff }), fc.uint8Array({ maxLength: 40 })), {
      selector: ([type]) => type,
    })
    fc.assert(
      fc.property(values, (list) => {
        const bytes = Buffer.concat(list.map(([type, value]) => attribute(type, Buffer.from(value))))
        expect([...readAttributes(bytes)]).toEqual(list.map(([type, value]) => [type, Buffer.from(value)]))
      }),
    )
  })

  test('of malformed bytes, what comes before the fault is read, and it ends', () => {
    const good = attribute(1, u32(5))
    for (const bad of ['0000', '03000100', '00000000', 'ffff0100aa']) {
      expect([...readAttributes(Buffer.concat([good, Buffer.from(bad, 'hex')]))]).toEqual([[1, u32(5)]])
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void readAttributes(Buffer.from(bytes))))
  })

  test('text ends at the first NUL or with the bytes', () => {
    expect(readText(Buffer.from('ab\0cd'))).toBe('ab')
    expect(readText(Buffer.from('ab'))).toBe('ab')
  })
})

describe('messages', () => {
  test('several in one datagram', () => {
    const one = { type: 16, flags: 5, seq: 0xffffffff, payload: u32(1) }
    const two = { type: 3, flags: 2, seq: 7, payload: Buffer.alloc(0) }
    expect(decodeMessages(Buffer.concat([encodeMessage(one), encodeMessage(two)]))).toEqual([one, two])
  })

  test('an impossible length is an error, not a loop', () => {
    const message = encodeMessage({ type: 16, flags: 0, seq: 1, payload: u32(1) })
    for (const length of [0, 15, 21, 0xffffffff]) {
      const bytes = Buffer.from(message)
      bytes.writeUInt32LE(length, 0)
      expect(() => decodeMessages(bytes)).toThrow('at offset 0 of a datagram of 20')
    }
  })
})
