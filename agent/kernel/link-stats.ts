/** What went through a device (IFLA_STATS64). */
import { findLink } from './links.js'
import { openRoute } from './netlink.js'

/** Bytes since the device was made. */
export interface LinkStats {
  rxBytes: number
  txBytes: number
  up: boolean
}

/**
 * By netlink and not from /sys/class/net, which shows the network namespace in which it was mounted.
 * @returns null where there is no such device
 */
export async function linkStats(device: string): Promise<LinkStats | null> {
  const netlink = openRoute()
  try {
    const link = await findLink(netlink, device)
    return link && { rxBytes: link.rxBytes, txBytes: link.txBytes, up: link.up }
  } finally {
    netlink.close()
  }
}
