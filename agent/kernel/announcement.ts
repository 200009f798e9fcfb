/** Ethernet frames that tell a segment where an address is now. Pure. */
import { familyOf, type Ip } from '../../proto/model/address.js'
import { ipToBytes } from './ip-bytes.js'

const everybody = Buffer.alloc(6, 0xff)
/** 33:33 and the last four bytes of ff02::1 (RFC 2464, 7). */
const allNodes = Buffer.from('333300000001', 'hex')
/** Without its checksum, which the device adds (IEEE 802.3, 4.2.3.3). */
const shortestFrame = 60

/** @param hardware the device's own address, six bytes */
export const announcement = (ip: Ip, hardware: Buffer): Buffer[] =>
  familyOf(ip) === 4
    ? // Some listen to requests only, some to answers only (RFC 5227, 3).
      [arp(1, ip, hardware, Buffer.alloc(6)), arp(2, ip, hardware, hardware)]
    : [advertisement(ip, hardware)]

/** Gratuitous ARP (RFC 826, RFC 5944 section 4.6): the address asks for, or tells of, itself. */
function arp(operation: 1 | 2, ip: Ip, hardware: Buffer, target: Buffer): Buffer {
  const address = ipToBytes(ip)
  // Ethernet, IPv4, lengths of their addresses.
  const head = Buffer.from([0, 1, 8, 0, 6, 4, 0, operation])
  const frame = Buffer.concat([
    everybody,
    hardware,
    Buffer.from([0x08, 0x06]),
    head,
    hardware,
    address,
    target,
    address,
  ])
  return Buffer.concat([frame], shortestFrame)
}

/** Unsolicited neighbour advertisement (RFC 4861, 7.2.6) that overrides what is cached. */
function advertisement(ip: Ip, hardware: Buffer): Buffer {
  const source = ipToBytes(ip)
  const destination = ipToBytes('ff02::1' as Ip)
  const message = Buffer.concat([
    // Type, code, checksum; of the flags only O.
    Buffer.from([136, 0, 0, 0, 0x20, 0, 0, 0]),
    source,
    // Target link-layer address, in units of eight bytes.
    Buffer.from([2, 1]),
    hardware,
  ])
  const pseudo = Buffer.concat([source, destination, Buffer.from([0, 0, 0, message.length, 0, 0, 0, 58])])
  message.writeUInt16BE(checksum(Buffer.concat([pseudo, message])), 2)
  // Version 6; next header ICMPv6, hop limit 255: less is not believed.
  const header = Buffer.from([0x60, 0, 0, 0, 0, message.length, 58, 255])
  return Buffer.concat([allNodes, hardware, Buffer.from([0x86, 0xdd]), header, source, destination, message])
}

/** RFC 1071; of an even number of bytes. */
function checksum(bytes: Buffer): number {
  let sum = 0
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}
