/** Addresses between their text (proto/model/address.ts) and the bytes in network order that netlink carries. */
import ipaddr from 'ipaddr.js'
import type { Family, Ip } from '../../proto/model/address.js'

/** 4 or 16 bytes. */
export const ipToBytes = (ip: Ip): Buffer => Buffer.from(ipaddr.parse(ip).toByteArray())

/** Canonical text; the kernel's bytes need no check beyond their length (4 or 16). */
export const bytesToIp = (bytes: Buffer): Ip => ipaddr.fromByteArray([...bytes]).toString() as Ip

/** AF_INET and AF_INET6 (socket.h). */
export const addressFamily = (family: Family): number => (family === 4 ? 2 : 10)

/** The inverse of `addressFamily`; null for every other family. */
export const familyFromNumber = (number: number): Family | null => (number === 2 ? 4 : number === 10 ? 6 : null)
