/** TCP sockets of this network namespace, by sock_diag(7): what `ss` reads. */
import type { Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import { eachAttribute } from './conntrack-attributes.js'
import { addressFamily, bytesToIp } from './ip-bytes.js'
import { isErrno, netlinkProtocol, openRaw } from './netlink.js'

export interface TcpSocket {
  /** How the kernel names exactly this socket: family, and struct inet_diag_sockid with its cookie. */
  id: { family: number; bytes: Buffer }
  local: Ip
  localPort: number
  remote: Ip
  remotePort: number
}

/** States of a connection that stands, or of which its end isn't over: enum of include/net/tcp_states.h. */
const stateNumbers = {
  established: 1,
  'fin-wait-1': 4,
  'fin-wait-2': 5,
  'time-wait': 6,
  'close-wait': 8,
  'last-ack': 9,
  closing: 11,
} as const
export type TcpSocketState = keyof typeof stateNumbers
const stateNames = new Map<number, TcpSocketState>(
  Object.entries(stateNumbers).map(([name, number]) => [number, name as TcpSocketState]),
)
const listenNumber = 10
/** TCP_CLOSE: of a UDP socket, that it isn't connected. */
const unconnectedNumber = 7

export interface StatefulSocket extends TcpSocket {
  state: TcpSocketState
}

/** SOCK_DIAG_BY_FAMILY and SOCK_DESTROY. */
const byFamily = 20
const destroy = 21
const protocolTcp = 6
const protocolUdp = 17
/** idiag_states: a bit a state. */
const established = 1 << stateNumbers.established
const connected = Object.values<number>(stateNumbers).reduce((bits, number) => bits | (1 << number), 0)
/** struct inet_diag_req_v2: 8 bytes, then struct inet_diag_sockid of 48. */
const requestLength = 56
/** struct inet_diag_msg: 4 bytes, the same sockid, 20 bytes; attributes come behind. */
const messageLength = 72
/** INET_DIAG_INFO, and the bit that asks for it (idiag_ext). */
const infoAttribute = 2
const infoBit = 1 << (infoAttribute - 1)
/** In struct tcp_info: tcpi_last_data_sent and _recv in ms, tcpi_busy_time in µs (Linux 4.10). */
const tcpInfo = { lastDataSent: 44, lastDataReceived: 52, busyTime: 168 } as const
/** Of struct inet_diag_msg: idiag_family, …, then the same sockid from byte 4. */
const idOffset = 4
const idLength = 48
/** idiag_inode, the last of struct inet_diag_msg. */
const inodeOffset = 68
const mappedPrefix = Buffer.from('00000000000000000000ffff', 'hex')

/**
 * Established connections of both families. An IPv4 connection of a dual-stack socket counts as the
 * IPv4 that it is.
 * @param localPort only those with this port here; 0: all. The kernel does the choosing.
 */
export async function establishedSockets(localPort: number): Promise<TcpSocket[]> {
  const sockets: TcpSocket[] = []
  await dump(established, localPort, (payload) => sockets.push(decodeSocket(payload)))
  return sockets
}

/** With how long each has stood at least, in ms: that long ago it sent or heard something. */
export async function agedSockets(): Promise<(TcpSocket & { atLeastMs: number })[]> {
  const sockets: (TcpSocket & { atLeastMs: number })[] = []
  await dump(
    established,
    0,
    (payload) => sockets.push({ ...decodeSocket(payload), atLeastMs: leastAge(payload) }),
    infoBit,
  )
  return sockets
}

function leastAge(payload: Buffer): number {
  let ms = 0
  eachAttribute(payload, messageLength, payload.length, (type, start, end) => {
    if (type !== infoAttribute || end < start + tcpInfo.lastDataReceived + 4) return
    ms = Math.max(
      payload.readUInt32LE(start + tcpInfo.lastDataSent),
      payload.readUInt32LE(start + tcpInfo.lastDataReceived),
      end < start + tcpInfo.busyTime + 8 ? 0 : Number(payload.readBigUInt64LE(start + tcpInfo.busyTime) / 1000n),
    )
  })
  return ms
}

/** Every connection whose client's port is still taken, TIME-WAIT included. */
export async function connectedSockets(): Promise<StatefulSocket[]> {
  const sockets: StatefulSocket[] = []
  await dump(connected, 0, (payload) => {
    // struct inet_diag_msg: idiag_family, idiag_state, …
    const state = stateNames.get(payload[1]!)
    if (state) sockets.push({ ...decodeSocket(payload), state })
  })
  return sockets
}

/** Who waits for clients: a listening TCP socket, or a UDP socket that isn't connected. */
export interface OpenSocket {
  protocol: 'tcp' | 'udp'
  port: number
  inode: number
}

export async function listeningSockets(): Promise<OpenSocket[]> {
  const sockets: OpenSocket[] = []
  const each =
    (protocol: OpenSocket['protocol']) =>
    (payload: Buffer): void =>
      void sockets.push({ protocol, port: payload.readUInt16BE(idOffset), inode: payload.readUInt32LE(inodeOffset) })
  await dump(1 << listenNumber, 0, each('tcp'))
  await dump(1 << unconnectedNumber, 0, each('udp'), 0, protocolUdp)
  return sockets
}

/** Ports on which somebody listens, whatever the address. */
export async function listeningPorts(): Promise<Set<number>> {
  const ports = new Set<number>()
  await dump(1 << listenNumber, 0, (payload) => ports.add(payload.readUInt16BE(idOffset)))
  return ports
}

async function dump(
  states: number,
  localPort: number,
  each: (payload: Buffer) => void,
  extensions = 0,
  protocol = protocolTcp,
): Promise<void> {
  const netlink = openRaw(netlinkProtocol.sockDiag)
  try {
    for (const family of [4, 6] as const) {
      const request = Buffer.alloc(requestLength)
      request.writeUInt8(addressFamily(family), 0)
      request.writeUInt8(protocol, 1)
      request.writeUInt8(extensions, 2)
      request.writeUInt32LE(states, 4)
      request.writeUInt16BE(localPort, 8)
      await netlink.dumpEach(byFamily, request, ({ payload }) => each(payload))
    }
  } finally {
    netlink.close()
  }
}

/**
 * Ends connections with a reset to the peer, as `ss -K` does (Linux 4.5, CONFIG_INET_DIAG_DESTROY).
 * @returns how many; those that had ended by themselves don't count.
 * @throws FleetmoveError 'kernel' where the kernel can't.
 */
export async function destroySockets(sockets: readonly TcpSocket[]): Promise<number> {
  const netlink = openRaw(netlinkProtocol.sockDiag)
  let ended = 0
  try {
    for (const { id } of sockets) {
      const request = Buffer.alloc(requestLength)
      request.writeUInt8(id.family, 0)
      request.writeUInt8(protocolTcp, 1)
      request.writeUInt32LE(established, 4)
      id.bytes.copy(request, requestLength - idLength)
      try {
        await netlink.request(destroy, request)
        ended++
      } catch (error) {
        if (isErrno(error, 'ENOENT')) continue
        if (!isErrno(error, 'EOPNOTSUPP', 'ENOTSUP')) throw error
        throw new FleetmoveError('kernel', {
          message: "the kernel can't end established connections (CONFIG_INET_DIAG_DESTROY is missing)",
          hint: 'write drain_then: leave in fleet.yaml: the connections end when the service stops',
        })
      }
    }
    return ended
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
    // The buffer is the socket's receive buffer, and used again.
    id: { family: payload[0]!, bytes: Buffer.from(payload.subarray(idOffset, idOffset + idLength)) },
    localPort: payload.readUInt16BE(idOffset),
    remotePort: payload.readUInt16BE(idOffset + 2),
    local: address(idOffset + 4),
    remote: address(idOffset + 20),
  }
}
