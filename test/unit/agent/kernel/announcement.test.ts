import { announcement } from '../../../../agent/kernel/announcement.js'
import type { Ip } from '../../../../proto/model/address.js'

const hardware = Buffer.from('02aabbccddee', 'hex')

test('IPv4 is announced by a request and an answer for itself, to everybody', () => {
  const [request, answer] = announcement('203.0.113.11' as Ip, hardware).map((frame) => frame.toString('hex'))
  const ends = 'cb00710b'
  expect(request).toBe(
    `ffffffffffff02aabbccddee080600010800060400010${'2aabbccddee'}${ends}000000000000${ends}`.padEnd(120, '0'),
  )
  expect(answer).toBe(
    `ffffffffffff02aabbccddee080600010800060400020${'2aabbccddee'}${ends}02aabbccddee${ends}`.padEnd(120, '0'),
  )
})

test('IPv6 is announced by an advertisement that overrides, with a sound checksum', () => {
  const [frame] = announcement('2001:db8:a::11' as Ip, hardware)
  expect(frame!.length).toBe(14 + 40 + 32)
  expect(frame!.subarray(0, 14).toString('hex')).toBe('33330000000102aabbccddee86dd')
  const [header, message] = [frame!.subarray(14, 54), frame!.subarray(54)]
  // Next header and hop limit.
  expect([...header.subarray(6, 8)]).toEqual([58, 255])
  expect([message[0], message[4]]).toEqual([136, 0x20])
  expect(message.subarray(8, 24).toString('hex')).toBe('20010db8000a00000000000000000011')
  expect(message.subarray(24).toString('hex')).toBe('020102aabbccddee')
  // RFC 1071: with the checksum in its place all adds up to ones.
  const pseudo = Buffer.concat([header.subarray(8, 40), Buffer.from([0, 0, 0, 32, 0, 0, 0, 58]), message])
  let sum = 0
  for (let i = 0; i < pseudo.length; i += 2) sum += pseudo.readUInt16BE(i)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  expect(sum).toBe(0xffff)
})
