/**
 * What a probe and its answer look like, over TCP and UDP alike; numbers in network order.
 *
 * Request: token (16), wanted answer bytes (u32), total bytes (u32), padding up to the total.
 * Answer, in three parts that TCP sends apart, so that the prober knows how far things went:
 *  1. `greeting`: token (16), source port as seen (u16), length of the address (u8), the address (45)
 *  2. `count`: request bytes received (u32)
 *  3. padding up to the wanted size
 */
import type { Ip } from './model/address.js'
import { largestProbe } from './model/probe.js'
import { parseIp } from './parse.js'

export const tokenLength = 16
export const requestHeaderLength = tokenLength + 8
const longestIp = 45
export const greetingLength = tokenLength + 2 + 1 + longestIp
export const answerHeaderLength = greetingLength + 4

/**
 * The smallest request: as long as the smallest answer, so that an answer over UDP never exceeds its
 * request (no amplifier for forged source addresses).
 */
export const smallestProbe = answerHeaderLength

export const probeSize = (bytes: number): number => Math.min(largestProbe, Math.max(smallestProbe, Math.floor(bytes)))

export interface RequestHeader {
  token: Buffer
  /** Bytes of the whole answer. */
  wanted: number
  /** Bytes of the whole request. */
  total: number
}

/** A whole request of `bytes` bytes, which wants an answer of the same size. */
export function encodeRequest(token: Uint8Array, bytes: number): Buffer {
  if (token.length !== tokenLength)
    throw new RangeError(`a probe's token has ${tokenLength} bytes, not ${token.length}`)
  const total = probeSize(bytes)
  const request = Buffer.alloc(total)
  request.set(token, 0)
  request.writeUInt32BE(total, tokenLength)
  request.writeUInt32BE(total, tokenLength + 4)
  return request
}

/** @returns undefined where the bytes are too few, or say impossible sizes. */
export function decodeRequestHeader(bytes: Buffer): RequestHeader | undefined {
  if (bytes.length < requestHeaderLength) return undefined
  const wanted = bytes.readUInt32BE(tokenLength)
  const total = bytes.readUInt32BE(tokenLength + 4)
  const fits = (size: number): boolean => size >= smallestProbe && size <= largestProbe
  return fits(wanted) && fits(total) ? { token: bytes.subarray(0, tokenLength), wanted, total } : undefined
}

/** What the origin says about the prober's own address. */
export interface Seen {
  source: Ip
  sourcePort: number
}

export function encodeGreeting(token: Uint8Array, seen: Seen): Buffer {
  const greeting = Buffer.alloc(greetingLength)
  greeting.set(token, 0)
  greeting.writeUInt16BE(seen.sourcePort, tokenLength)
  greeting.writeUInt8(seen.source.length, tokenLength + 2)
  greeting.write(seen.source, tokenLength + 3, 'latin1')
  return greeting
}

/** @returns undefined where it isn't the answer to this token. */
export function decodeGreeting(bytes: Buffer, token: Uint8Array): Seen | undefined {
  if (bytes.length < greetingLength || !bytes.subarray(0, tokenLength).equals(token)) return undefined
  const length = bytes.readUInt8(tokenLength + 2)
  const address = parseIp(bytes.toString('latin1', tokenLength + 3, tokenLength + 3 + length))
  return address.ok ? { source: address.value, sourcePort: bytes.readUInt16BE(tokenLength) } : undefined
}

export function encodeCount(received: number): Buffer {
  const count = Buffer.alloc(4)
  count.writeUInt32BE(received)
  return count
}
