/**
 * Connections that end, as the kernel tells them (ctnetlink's multicast group for DESTROY).
 *
 * Only for a process of its own: an overrun of the socket's buffer ends it by the netlink package (netlink.ts).
 */
import { RawNetlinkSocket } from 'netlink'
import { type ConntrackEntry, decodeEntry } from './conntrack.js'
import { netlinkProtocol } from './netlink.js'
import { decodeMessages } from './netlink-message.js'

/** NFNLGRP_CONNTRACK_DESTROY, include/uapi/linux/netfilter/nfnetlink_compat.h. */
const group = 3
/** IPCTNL_MSG_CT_DELETE of NFNL_SUBSYS_CTNETLINK. */
const deleted = (1 << 8) | 2
/** An event is below 1 kB; the kernel sends one a datagram. */
const readSize = 4096
/** Asked for; the kernel gives net.core.rmem_max at most. */
const receiveBuffer = 8 * 1024 * 1024

export function onDestroyed(visit: (entry: ConntrackEntry) => void, onFault: (error: Error) => void): () => void {
  const socket = new RawNetlinkSocket(netlinkProtocol.netfilter, {
    messagePeeking: false,
    msgBufferSize: readSize,
    recvBufferSize: receiveBuffer,
    sendBufferSize: 0,
  })
  const waiting: Buffer[] = []
  // An exception in the tick that delivers a message would abort the process.
  socket.on('message', (datagram) => {
    if (waiting.push(datagram) > 1) return
    setImmediate(() => {
      for (const each of waiting.splice(0)) {
        for (const { type, payload } of decodeMessages(each)) {
          const entry = type === deleted ? decodeEntry(payload) : undefined
          if (entry) visit(entry)
        }
      }
    })
  })
  socket.on('error', (error) => setImmediate(() => onFault(error)))
  socket.addMembership(group)
  return () => socket.close()
}
