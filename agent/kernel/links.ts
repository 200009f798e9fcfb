/** Network devices by rtnetlink (rtnetlink(7), include/uapi/linux/if_link.h). */

import { familyOf, type Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import type { TapLink, VxlanLink } from '../plan/desired.js'
import { bytesToIp, ipToBytes } from './ip-bytes.js'
import { isErrno, type Netlink } from './netlink.js'
import { attribute, flag, nest, readAttributes, readText, text, u8, u16be, u32 } from './netlink-message.js'
import type { ObservedLink } from './observed.js'
import type { Performers } from './step.js'
import { installHint, runTool, ToolMissing } from './tool.js'

const message = { newLink: 16, deleteLink: 17, getLink: 18 } as const
const ifla = { address: 1, name: 3, mtu: 4, txQueueLength: 13, linkInfo: 18, stats64: 23 } as const
const info = { kind: 1, data: 2 } as const
const vxlan = { id: 1, group: 2, link: 3, local: 4, learning: 7, port: 15, group6: 16, local6: 17 } as const

const up = 0x1
const headerLength = 16

/** struct ifinfomsg */
function linkHeader(index: number, flags = 0, change = 0): Buffer {
  const bytes = Buffer.alloc(headerLength)
  bytes.writeInt32LE(index, 4)
  bytes.writeUInt32LE(flags, 8)
  bytes.writeUInt32LE(change, 12)
  return bytes
}

/** A link with what only the performers and the readers of statistics need. */
export interface Link extends ObservedLink {
  index: number
  /** Its hardware address; empty where it has none. */
  hardware: Buffer
  txQueueLength: number
  /** IFLA_STATS64, bytes since the device was made. */
  rxBytes: number
  txBytes: number
}

function readLink(payload: Buffer): Link {
  const attributes = readAttributes(payload.subarray(headerLength))
  const linkInfo = readAttributes(attributes.get(ifla.linkInfo) ?? Buffer.alloc(0))
  const kind = readText(linkInfo.get(info.kind) ?? Buffer.alloc(0))
  // struct rtnl_link_stats64: rx_packets, tx_packets, rx_bytes, tx_bytes, …
  const stats = attributes.get(ifla.stats64)
  return {
    name: readText(attributes.get(ifla.name) ?? Buffer.alloc(0)),
    index: payload.readInt32LE(4),
    kind,
    mtu: attributes.get(ifla.mtu)?.readUInt32LE(0) ?? 0,
    up: (payload.readUInt32LE(8) & up) !== 0,
    vxlan: kind === 'vxlan' ? readVxlan(linkInfo.get(info.data) ?? Buffer.alloc(0)) : null,
    hardware: Buffer.from(attributes.get(ifla.address) ?? []),
    txQueueLength: attributes.get(ifla.txQueueLength)?.readUInt32LE(0) ?? 0,
    rxBytes: stats ? Number(stats.readBigUInt64LE(16)) : 0,
    txBytes: stats ? Number(stats.readBigUInt64LE(24)) : 0,
  }
}

function readVxlan(data: Buffer): NonNullable<ObservedLink['vxlan']> {
  const attributes = readAttributes(data)
  const ip = (...types: number[]): Ip | null => {
    const bytes = types.map((type) => attributes.get(type)).find((value) => value !== undefined)
    return bytes ? bytesToIp(bytes) : null
  }
  return {
    vni: attributes.get(vxlan.id)?.readUInt32LE(0) ?? 0,
    local: ip(vxlan.local, vxlan.local6),
    remote: ip(vxlan.group, vxlan.group6),
    port: attributes.get(vxlan.port)?.readUInt16BE(0) ?? 0,
  }
}

/** Every link of the namespace. */
export async function listLinks(netlink: Netlink): Promise<Link[]> {
  const messages = await netlink.dump(message.getLink, linkHeader(0))
  return messages.map((found) => readLink(found.payload))
}

/** @returns null where there is no device of this name or index. */
export async function findLink(netlink: Netlink, device: string | number): Promise<Link | null> {
  const request =
    typeof device === 'number' ? linkHeader(device) : Buffer.concat([linkHeader(0), attribute(ifla.name, text(device))])
  try {
    const [found] = await netlink.request(message.getLink, request)
    return found ? readLink(found.payload) : null
  } catch (error) {
    // ERANGE, EINVAL: no device can have such a name.
    if (isErrno(error, 'ENODEV', 'ERANGE', 'EINVAL')) return null
    throw error
  }
}

/** @throws FleetmoveError where the device is absent, with its name. */
export async function requireLink(netlink: Netlink, name: string): Promise<Link> {
  const link = await findLink(netlink, name)
  if (!link) throw new FleetmoveError('kernel', { message: `there is no device ${name}` })
  return link
}

/** Succeeds where there is none. */
export async function deleteLink(netlink: Netlink, name: string): Promise<void> {
  const link = await findLink(netlink, name)
  if (!link) return
  try {
    await netlink.request(message.deleteLink, linkHeader(link.index))
  } catch (error) {
    if (!isErrno(error, 'ENODEV')) throw error
  }
}

interface NewLink {
  name: string
  mtu: number
  mac?: string
}

async function createLink(
  netlink: Netlink,
  { name, mtu, mac }: NewLink,
  kind: string,
  data: readonly Buffer[],
): Promise<void> {
  const payload = Buffer.concat([
    linkHeader(0),
    attribute(ifla.name, text(name)),
    attribute(ifla.mtu, u32(mtu)),
    ...(mac === undefined ? [] : [macAttribute(mac)]),
    nest(ifla.linkInfo, attribute(info.kind, Buffer.from(kind)), ...(data.length ? [nest(info.data, ...data)] : [])),
  ])
  try {
    await netlink.request(message.newLink, payload, flag.create | flag.excl)
  } catch (error) {
    if (!isErrno(error, 'ENOTSUP', 'ENOTSUPP')) throw error
    throw new FleetmoveError('kernel', { message: `this kernel has no ${kind} devices`, cause: error })
  }
}

const macAttribute = (mac: string): Buffer => attribute(ifla.address, Buffer.from(mac.replaceAll(':', ''), 'hex'))

async function createVxlan(netlink: Netlink, link: VxlanLink): Promise<void> {
  const under = await requireLink(netlink, link.under)
  const six = familyOf(link.remote) === 6
  await createLink(netlink, link, 'vxlan', [
    attribute(vxlan.id, u32(link.vni)),
    attribute(six ? vxlan.group6 : vxlan.group, ipToBytes(link.remote)),
    attribute(six ? vxlan.local6 : vxlan.local, ipToBytes(link.local)),
    attribute(vxlan.link, u32(under.index)),
    attribute(vxlan.port, u16be(link.port)),
    // There is one remote; learning would only let a forged frame move the peer's address elsewhere.
    attribute(vxlan.learning, u8(0)),
  ])
}

/** TUNSETIFF is an ioctl, which node can't make: the tool of iproute2 does it, or OpenVPN itself. */
async function createTap(netlink: Netlink, link: TapLink): Promise<void> {
  try {
    await runTool('ip', ['tuntap', 'add', 'dev', link.name, 'mode', 'tap'])
  } catch (error) {
    if (!(error instanceof ToolMissing)) throw error
    try {
      await runTool('openvpn', ['--mktun', '--dev', link.name, '--dev-type', 'tap'])
    } catch (second) {
      if (!(second instanceof ToolMissing)) throw second
      throw new FleetmoveError('kernel', {
        message: `no tool to make the tap device ${link.name} with: neither ip nor openvpn is installed`,
        hint: installHint('ip'),
        cause: error,
      })
    }
  }
  const { index } = await requireLink(netlink, link.name)
  await netlink.request(message.newLink, Buffer.concat([linkHeader(index), macAttribute(link.mac)]))
}

/** Whether what stands under the name is what `add-link` would make. */
function isSame(found: Link, link: VxlanLink | TapLink | { kind: 'wireguard' }): boolean {
  if (link.kind === 'tap') return found.kind === 'tun'
  if (link.kind === 'wireguard') return found.kind === 'wireguard'
  return (
    found.vxlan !== null &&
    found.vxlan.vni === link.vni &&
    found.vxlan.local === link.local &&
    found.vxlan.remote === link.remote &&
    found.vxlan.port === link.port
  )
}

/**
 * wireguard-go gives its device 500 packets of queue; bursts of a forwarded load overrun that (measured:
 * 437 against 740 Mb/s together with larger socket buffers). 1000 is the kernel's own default.
 */
const leastQueue = 1000

export const linkPerformers = (netlink: Netlink): Pick<Performers, 'add-link' | 'delete-link' | 'set-link'> => ({
  'add-link': async ({ link }) => {
    const found = await findLink(netlink, link.name)
    if (found && isSame(found, link)) return
    if (found) {
      throw new FleetmoveError('kernel', {
        message: `there is another device of this name already (kind "${found.kind}")`,
        hint: `look at it: ip -d link show ${link.name}`,
      })
    }
    if (link.kind === 'vxlan') return createVxlan(netlink, link)
    if (link.kind === 'tap') return createTap(netlink, link)
    if (link.userspace) {
      throw new FleetmoveError('internal', {
        message: `${link.name} is made by its wireguard-go process, not as a link`,
      })
    }
    return createLink(netlink, link, 'wireguard', [])
  },

  'delete-link': ({ name }) => deleteLink(netlink, name),

  'set-link': async ({ name, mtu }) => {
    const link = await requireLink(netlink, name)
    const queue =
      link.kind === 'tun' && link.txQueueLength < leastQueue ? [attribute(ifla.txQueueLength, u32(leastQueue))] : []
    const payload = Buffer.concat([linkHeader(link.index, up, up), attribute(ifla.mtu, u32(mtu)), ...queue])
    await netlink.request(message.newLink, payload)
  },
})
