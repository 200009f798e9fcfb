/** Addresses of devices by rtnetlink (include/uapi/linux/if_addr.h). */
import { familyOf } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import type { AddressSpec } from '../plan/desired.js'
import { addressFamily, bytesToIp, familyFromNumber, ipToBytes } from './ip-bytes.js'
import { findLink, requireLink } from './links.js'
import { isErrno, type Netlink } from './netlink.js'
import { attribute, flag, readAttributes, readText, text, u32 } from './netlink-message.js'
import type { Performers } from './step.js'

const message = { newAddress: 20, deleteAddress: 21, getAddress: 22 } as const
const ifa = { address: 1, local: 2, label: 3, broadcast: 4, cacheInfo: 6, flags: 8 } as const
/** IFA_F_PERMANENT, IFA_F_NOPREFIXROUTE */
const [permanent, noPrefixRoute] = [0x80, 0x200]
/** RT_SCOPE_HOST of include/uapi/linux/rtnetlink.h. */
const scopeHost = 254
const forever = 0xffffffff

/** IFA_F_NODAD: both ends of the tunnel are ours; a tentative address would refuse traffic for a second. */
const noDuplicateDetection = 0x02
const headerLength = 8

/** struct ifaddrmsg, then the address as both ends' own: on a /30 or /126 it is no point-to-point pair. */
function addressMessage(address: AddressSpec, index: number): Buffer {
  const family = familyOf(address.ip)
  const header = Buffer.alloc(headerLength)
  header.writeUInt8(addressFamily(family), 0)
  header.writeUInt8(address.prefix, 1)
  header.writeUInt8(family === 6 ? noDuplicateDetection : 0, 2)
  if (address.silent) header.writeUInt8(scopeHost, 3)
  header.writeUInt32LE(index, 4)
  const bytes = ipToBytes(address.ip)
  const flags = (family === 6 ? noDuplicateDetection : 0) | (address.noPrefixRoute ? noPrefixRoute : 0)
  return Buffer.concat([
    header,
    attribute(ifa.local, bytes),
    attribute(ifa.address, bytes),
    ...(address.broadcast ? [attribute(ifa.broadcast, ipToBytes(address.broadcast))] : []),
    ...(address.label ? [attribute(ifa.label, text(address.label))] : []),
    ...(address.noPrefixRoute ? [attribute(ifa.flags, u32(flags))] : []),
    // struct ifa_cacheinfo: preferred and valid lifetimes, and two stamps that are the kernel's.
    ...(address.idle ? [attribute(ifa.cacheInfo, Buffer.concat([u32(0), u32(forever), u32(0), u32(0)]))] : []),
  ])
}

/** @param nameOf device names by index; addresses of a device that has just gone are left out. */
export async function listAddresses(netlink: Netlink, nameOf: ReadonlyMap<number, string>): Promise<AddressSpec[]> {
  const messages = await netlink.dump(message.getAddress, Buffer.alloc(headerLength))
  return messages.flatMap(({ payload }) => {
    const attributes = readAttributes(payload.subarray(headerLength))
    // With a point-to-point pair IFA_ADDRESS is the other end, IFA_LOCAL ours; plain IPv6 has the former only.
    const bytes = attributes.get(ifa.local) ?? attributes.get(ifa.address)
    const device = nameOf.get(payload.readUInt32LE(4))
    if (!bytes || device === undefined || familyFromNumber(payload.readUInt8(0)) === null) return []
    return [{ device, ip: bytesToIp(bytes), prefix: payload.readUInt8(1), ...detailsOf(device, attributes) }]
  })
}

/** What must be said again for the address to be as it was. */
function detailsOf(device: string, attributes: ReadonlyMap<number, Buffer>): Partial<AddressSpec> {
  const broadcast = attributes.get(ifa.broadcast)
  const label = attributes.get(ifa.label)
  const flags = attributes.get(ifa.flags)?.readUInt32LE(0) ?? 0
  return {
    ...(broadcast ? { broadcast: bytesToIp(broadcast) } : {}),
    ...(label && readText(label) !== device ? { label: readText(label) } : {}),
    ...(attributes.has(ifa.flags) && (flags & permanent) === 0 ? { dynamic: true } : {}),
    ...((flags & noPrefixRoute) !== 0 ? { noPrefixRoute: true } : {}),
  }
}

/** @param gone told of each address that is about to be removed */
export const addressPerformers = (
  netlink: Netlink,
  gone: (address: AddressSpec) => void,
): Pick<Performers, 'add-address' | 'delete-address'> => ({
  'add-address': async ({ address }) => {
    const link = await requireLink(netlink, address.device)
    try {
      await netlink.request(message.newAddress, addressMessage(address, link.index), flag.create | flag.excl)
    } catch (error) {
      if (isErrno(error, 'EEXIST')) return
      if (isErrno(error, 'EACCES') && familyOf(address.ip) === 6) {
        throw new FleetmoveError('kernel', {
          message: `IPv6 is switched off on ${address.device}`,
          hint: `set net.ipv6.conf.${address.device}.disable_ipv6 and net.ipv6.conf.default.disable_ipv6 to 0`,
          cause: error,
        })
      }
      throw error
    }
  },

  'delete-address': async ({ address }) => {
    gone(address)
    const link = await findLink(netlink, address.device)
    if (!link) return
    try {
      await netlink.request(message.deleteAddress, addressMessage(address, link.index))
    } catch (error) {
      if (!isErrno(error, 'EADDRNOTAVAIL', 'ENODEV')) throw error
    }
  },
})
