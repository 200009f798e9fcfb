import { createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto'

/**
 * A self-signed X.509 v3 certificate (RFC 5280) for an EC key, as DER. Node reads certificates but
 * doesn't write them, and a host with OpenVPN needn't have the openssl program. Peers pin its
 * fingerprint, so the names in it mean nothing.
 * @param key private, prime256v1
 * @param days of validity from `now`; it begins a day before, since the peer's clock may be slow
 */
export const selfSigned = (key: KeyObject, commonName: string, days: number, now: Date): Buffer => {
  const day = 86_400_000
  const name = sequence(set(sequence(oid(2, 5, 4, 3), tlv(0x0c, Buffer.from(commonName)))))
  const signature = sequence(oid(1, 2, 840, 10045, 4, 3, 2)) // ecdsa-with-SHA256, RFC 5758
  const signed = sequence(
    tlv(0xa0, integer(Buffer.from([2]))), // version 3
    integer(randomBytes(16)),
    signature,
    name,
    sequence(time(new Date(now.getTime() - day)), time(new Date(now.getTime() + days * day))),
    name,
    createPublicKey(key).export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(notAuthority)),
  )
  return sequence(signed, signature, tlv(0x03, Buffer.from([0]), sign('sha256', signed, key)))
}

/** DER (X.690, 8.1): tag, length in the shortest form, contents. */
const tlv = (tag: number, ...contents: Buffer[]): Buffer => {
  const body = Buffer.concat(contents)
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body])
  const length = Buffer.from(body.length < 0x100 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 0xff])
  return Buffer.concat([Buffer.from([tag]), length, body])
}

const sequence = (...contents: Buffer[]): Buffer => tlv(0x30, ...contents)
const set = (...contents: Buffer[]): Buffer => tlv(0x31, ...contents)

/** A positive number in the shortest form: no leading zeros, but one where the top bit would make it negative. */
const integer = (bytes: Buffer): Buffer => {
  const first = bytes.findIndex((byte) => byte !== 0)
  const shortest = first === -1 ? Buffer.from([0]) : bytes.subarray(first)
  return tlv(0x02, Buffer.from(shortest[0]! & 0x80 ? [0] : []), shortest)
}

/** The first two arcs share a byte, the others are in base 128 (X.690, 8.19). */
const oid = (first: number, second: number, ...rest: number[]): Buffer => {
  const bytes = [first * 40 + second]
  for (const arc of rest) {
    const digits = [arc & 0x7f]
    for (let left = arc >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80)
    bytes.push(...digits)
  }
  return tlv(0x06, Buffer.from(bytes))
}

/** UTCTime until 2049, GeneralizedTime from 2050 on (RFC 5280, 4.1.2.5). */
const time = (date: Date): Buffer => {
  const text = `${date.toISOString().replace(/\.\d+/, '').replace(/[-:T]/g, '')}`
  return date.getUTCFullYear() < 2050 ? tlv(0x17, Buffer.from(text.slice(2))) : tlv(0x18, Buffer.from(text))
}

/** Critical basicConstraints with nothing in it: this certificate can't sign others. */
const notAuthority = sequence(oid(2, 5, 29, 19), tlv(0x01, Buffer.from([0xff])), tlv(0x04, sequence()))
