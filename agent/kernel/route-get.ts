/** What the kernel knows of the way to one address (RTM_GETROUTE, as `ip route get`). */
import { familyOf, type Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import { addressFamily, ipToBytes } from './ip-bytes.js'
import { findLink } from './links.js'
import { NetlinkError, openRoute } from './netlink.js'
import { attribute, readAttributes } from './netlink-message.js'

const getRoute = 26
const rta = { destination: 1, device: 4, metrics: 8 } as const
/** RTAX_MTU */
const metricMtu = 2
const headerLength = 12

export interface RouteMtu {
  /**
   * Bytes. What an ICMP "too big" taught the kernel of this path, or what the route itself is limited to;
   * null where it knows no limit but the device's.
   */
  mtu: number | null
  device: string
  /** Of the device, in bytes. */
  deviceMtu: number
}

/**
 * The way on which this host would send to `ip` now, without any mark.
 * @throws FleetmoveError 'kernel' where there is no route
 */
export async function routeMtu(ip: Ip): Promise<RouteMtu> {
  const bytes = ipToBytes(ip)
  const header = Buffer.alloc(headerLength)
  header.writeUInt8(addressFamily(familyOf(ip)), 0)
  header.writeUInt8(bytes.length * 8, 1)
  const netlink = openRoute()
  try {
    const [route] = await netlink.request(getRoute, Buffer.concat([header, attribute(rta.destination, bytes)]))
    const attributes = readAttributes(route?.payload.subarray(headerLength) ?? Buffer.alloc(0))
    const link = await findLink(netlink, attributes.get(rta.device)?.readUInt32LE(0) ?? 0)
    if (!link) throw new FleetmoveError('kernel', { message: `the way to ${ip} leads through no device` })
    const metrics = readAttributes(attributes.get(rta.metrics) ?? Buffer.alloc(0))
    return { mtu: metrics.get(metricMtu)?.readUInt32LE(0) ?? null, device: link.name, deviceMtu: link.mtu }
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error
    throw new FleetmoveError('kernel', { message: `this host has no route to ${ip} (${error.errno})`, cause: error })
  } finally {
    netlink.close()
  }
}
