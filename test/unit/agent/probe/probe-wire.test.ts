import fc from 'fast-check'
import type { Ip } from '../../../../proto/model/address.js'
import {
  answerHeaderLength,
  decodeGreeting,
  decodeRequestHeader,
  encodeGreeting,
  encodeRequest,
  greetingLength,
  probeSize,
  requestHeaderLength,
  smallestProbe,
} from '../../../../proto/probe-wire.js'

const token = Uint8Array.from({ length: 16 }, (_, i) => 255 - i)
const longest = 'fd00:1111:2222:3333:4444:5555:6666:7777' as Ip

test('a request says its token and size, within bounds', () => {
  for (const [asked, size] of [
    [0, smallestProbe],
    [2500.7, 2500],
    [1_000_000, 8192],
  ] as const) {
    const request = encodeRequest(token, asked)
    expect(request.length).toBe(size)
    expect(decodeRequestHeader(request)).toEqual({ token: Buffer.from(token), wanted: size, total: size })
  }
  expect(() => encodeRequest(token.subarray(1), 100)).toThrow(RangeError)
})

test('the smallest request is no shorter than the smallest answer', () => {
  expect(probeSize(0)).toBeGreaterThanOrEqual(answerHeaderLength)
})

test.each([0, 1, smallestProbe - 1, 8193, 0xffffffff])('a request that says %p bytes is none', (size) => {
  for (const offset of [16, 20]) {
    const request = encodeRequest(token, 100)
    request.writeUInt32BE(size, offset)
    expect(decodeRequestHeader(request)).toBeUndefined()
  }
  expect(decodeRequestHeader(encodeRequest(token, 100).subarray(0, requestHeaderLength - 1))).toBeUndefined()
})

test('a greeting comes back as it was said, to its own token only', () => {
  for (const source of ['198.18.9.9' as Ip, longest, '::1' as Ip]) {
    const greeting = encodeGreeting(token, { source, sourcePort: 65535 })
    expect(greeting.length).toBe(greetingLength)
    expect(decodeGreeting(greeting, token)).toEqual({ source, sourcePort: 65535 })
    expect(decodeGreeting(greeting, new Uint8Array(16))).toBeUndefined()
    expect(decodeGreeting(greeting.subarray(1), token)).toBeUndefined()
  }
})

test('whatever bytes come, decoding never throws', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const buffer = Buffer.concat([token.slice(0, 16), bytes])
      decodeRequestHeader(buffer)
      decodeGreeting(buffer, token)
    }),
  )
})
