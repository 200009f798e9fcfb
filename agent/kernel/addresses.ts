/** Addresses of devices by rtnetlink (include/uapi/linux/if_addr.h). */
import { familyOf } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import type { AddressSpec } from '../plan/desired.js'
import { addressFamily, bytesToIp, familyFromNumber, ipToBytes } from './ip-bytes.js'
import { findLink, requireLink } from './links.js'
import { isErrno, type Netlink } from './netlink.js'
import { attribute, flag, readAttributes } from './netlink-message.js'
import type { Performers } from './step.js'

const message = { newAddress: 20, deleteAddress: 21, getAddress: 22 } as const
const ifa = { address: 1, local: 2 } as const

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
  header.writeUInt32LE(index, 4)
  const bytes = ipToBytes(address.ip)
  return Buffer.concat([header, attribute(ifa.local, bytes), attribute(ifa.address, bytes)])
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
    return [{ device, ip: bytesToIp(bytes), prefix: payload.readUInt8(1) }]
  })
}

export const addressPerformers = (netlink: Netlink): Pick<Performers, 'add-address' | 'delete-address'> => ({
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
    const link = await findLink(netlink, address.device)
    if (!link) return
    try {
      await netlink.request(message.deleteAddress, addressMessage(address, link.index))
    } catch (error) {
      if (!isErrno(error, 'EADDRNOTAVAIL', 'ENODEV')) throw error
    }
  },
})
