/** Routes by rtnetlink (include/uapi/linux/rtnetlink.h): default routes of ours, and the host's own uplinks. */
import type { RouteSpec } from '../plan/desired.js'
import { routeProtocol } from '../plan/own.js'
import { addressFamily, bytesToIp, ipToBytes } from './ip-bytes.js'
import { findLink, requireLink } from './links.js'
import { isErrno, type Netlink } from './netlink.js'
import { attribute, flag, readAttributes, u32 } from './netlink-message.js'
import type { Observed } from './observed.js'
import type { Performers } from './step.js'

const message = { newRoute: 24, deleteRoute: 25, getRoute: 26 } as const
const rta = { device: 4, gateway: 5, metric: 6, multipath: 9, table: 15 } as const
const type = { unicast: 1, blackhole: 6 } as const
const scope = { universe: 0, link: 253, nowhere: 255 } as const
const mainTable = 254
const headerLength = 12

/** struct rtmsg, and the attributes that tell the route; `index` is null for a blackhole. */
function routeMessage(route: RouteSpec, index: number | null, forDelete: boolean): Buffer {
  const header = Buffer.alloc(headerLength)
  header.writeUInt8(addressFamily(route.family), 0)
  // rtm_table has one byte; RTA_TABLE says what is meant, and RT_TABLE_UNSPEC (0) points there.
  header.writeUInt8(routeProtocol, 5)
  // RT_SCOPE_NOWHERE matches any scope when deleting (fib_table_delete).
  header.writeUInt8(forDelete ? scope.nowhere : route.kind === 'unicast' && !route.via ? scope.link : scope.universe, 6)
  header.writeUInt8(type[route.kind], 7)
  return Buffer.concat([
    header,
    attribute(rta.table, u32(route.table)),
    attribute(rta.metric, u32(route.metric)),
    ...(index === null ? [] : [attribute(rta.device, u32(index))]),
    ...(route.via ? [attribute(rta.gateway, ipToBytes(route.via))] : []),
  ])
}

type Uplink = Observed['uplinks'][number]

/**
 * Default routes that bear our protocol number, and where the host's own default routes (main table) lead.
 * The kernel filters dumps only for sockets that asked for strict checking, which the netlink package
 * can't set: so all routes are read, one by one.
 */
export async function listRoutes(
  netlink: Netlink,
  nameOf: ReadonlyMap<number, string>,
): Promise<{ routes: RouteSpec[]; uplinks: Uplink[] }> {
  const routes: RouteSpec[] = []
  const uplinks = new Map<string, Uplink>()
  for (const family of [4, 6] as const) {
    const header = Buffer.alloc(headerLength)
    header.writeUInt8(addressFamily(family), 0)
    await netlink.dumpEach(message.getRoute, header, ({ payload }) => {
      // A kernel without IPv6 answers with the routes of every family that it has.
      if (payload.readUInt8(0) !== addressFamily(family) || payload.readUInt8(1) !== 0) return
      const kind = payload.readUInt8(7)
      if (kind !== type.unicast && kind !== type.blackhole) return
      const attributes = readAttributes(payload.subarray(headerLength))
      const table = attributes.get(rta.table)?.readUInt32LE(0) ?? payload.readUInt8(4)
      const device = nameOf.get(attributes.get(rta.device)?.readUInt32LE(0) ?? 0) ?? null
      if (payload.readUInt8(5) === routeProtocol) {
        const via = attributes.get(rta.gateway)
        routes.push({
          family,
          table,
          kind: kind === type.unicast ? 'unicast' : 'blackhole',
          // IPv6 shows its blackholes on lo.
          device: kind === type.unicast ? device : null,
          via: via ? bytesToIp(via) : null,
          metric: attributes.get(rta.metric)?.readUInt32LE(0) ?? 0,
        })
      } else if (table === mainTable && kind === type.unicast) {
        const devices = device === null ? nextHopDevices(attributes.get(rta.multipath), nameOf) : [device]
        for (const name of devices) uplinks.set(`${family} ${name}`, { family, device: name })
      }
    })
  }
  return { routes, uplinks: [...uplinks.values()] }
}

/** The devices of RTA_MULTIPATH: an array of struct rtnexthop (length u16, flags, hops, index s32), each with attributes. */
function nextHopDevices(multipath: Buffer | undefined, nameOf: ReadonlyMap<number, string>): string[] {
  const names: string[] = []
  for (let rest = multipath ?? Buffer.alloc(0); rest.length >= 8; ) {
    const length = rest.readUInt16LE(0)
    const name = nameOf.get(rest.readInt32LE(4))
    if (name !== undefined) names.push(name)
    if (length < 8) break
    rest = rest.subarray((length + 3) & ~3)
  }
  return names
}

export const routePerformers = (netlink: Netlink): Pick<Performers, 'add-route' | 'delete-route'> => ({
  'add-route': async ({ route }) => {
    const index = route.device === null ? null : (await requireLink(netlink, route.device)).index
    // Replace, not exclusive: the kernel holds one route a table, metric and prefix, and tells a changed
    // next hop from the same one only so. With the same one nothing changes.
    await netlink.request(message.newRoute, routeMessage(route, index, false), flag.create | flag.replace)
  },

  'delete-route': async ({ route }) => {
    const link = route.device === null ? null : await findLink(netlink, route.device)
    // The routes of a device go with it.
    if (route.device !== null && link === null) return
    try {
      await netlink.request(message.deleteRoute, routeMessage(route, link?.index ?? null, true))
    } catch (error) {
      if (!isErrno(error, 'ESRCH', 'ENOENT', 'ENODEV')) throw error
    }
  },
})
