/** TCP sockets of this network namespace, by sock_diag(7): what `ss` reads. */
import type { Ip } from '../../proto/model/address.js'
import { addressFamily, bytesToIp } from './ip-bytes.js'
import { netlinkProtocol, openRaw } from './netlink.js'

export interface TcpSocket {
  local: Ip
  localPort: number
  remote: Ip
  remotePort: number
}

/** SOCK_DIAG_BY_FAMILY. */
const byFamily = 20
const protocolTcp = 6
/** Bit TCP_ESTABLISHED (1) of idiag_states. */
const established = 1 << 1
/** struct inet_diag_req_v2: 8 bytes, then struct inet_diag_sockid of 48. */
const requestLength = 56
/** Of struct inet_diag_msg: idiag_family, …, then the same sockid from byte 4. */
const idOffset = 4
const mappedPrefix = Buffer.from('00000000000000000000ffff', 'hex')

/**
 * Established connections of both families. An IPv4 connection of a dual-stack socket counts as the
 * IPv4 that it is.
 * @param localPort only those with this port here; 0: all. The kernel does the choosing.
 */
export async function establishedSockets(localPort: number): Promise<TcpSocket[]> {
  const netlink = openRaw(netlinkProtocol.sockDiag)
  try {
    const sockets: TcpSocket[] = []
    for (const family of [4, 6] as const) {
      const request = Buffer.alloc(requestLength)
      request.writeUInt8(addressFamily(family), 0)
      request.writeUInt8(protocolTcp, 1)
      request.writeUInt32LE(established, 4)
      request.writeUInt16BE(localPort, 8)
      await netlink.dumpEach(byFamily, request, ({ payload }) => sockets.push(decodeSocket(payload)))
    }
    return sockets
  } finally {
    netlink.close()
  }
}

function decodeSocket(payload: Buffer): TcpSocket {
  const six = payload[0] === addressFamily(6)
  const address = (offset: number): Ip => {
    const bytes = payload.subarray(offset, offset + (six ? 16 : 4))
    const mapped = six && bytes.subarray(0, 12).equals(mappedPrefix)
    return bytesToIp(mapped ? bytes.subarray(12) : bytes)
  }
  return {
    localPort: payload.readUInt16BE(idOffset),
    remotePort: payload.readUInt16BE(idOffset + 2),
    local: address(idOffset + 4),
    remote: address(idOffset + 20),
  }
}
