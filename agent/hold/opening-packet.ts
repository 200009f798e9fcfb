/** What a queued packet is: read from its IP and transport headers (RFC 791, 8200, 9293, 768). */

/** As many bytes of a packet as are read: IPv4's and TCP's longest headers are 60 each. */
export const bytesRead = 128

export type OpeningPacket =
  /** `flow` is the same for every attempt of one client socket, whatever its sequence number. */
  | { kind: 'syn'; flow: string }
  /** `bytes`: the whole IP packet. */
  | { kind: 'datagram'; bytes: number }
  | { kind: 'other' }

const tcp = 6
const udp = 17
/** FIN, SYN, RST and ACK; SYN alone opens a connection. */
const openingMask = 0x17
const syn = 0x02
/** Hop-by-hop, routing and destination options: each begins with the next header and its length in units of 8 bytes less one. */
const skippable = new Set([0, 43, 60])

/** @param packet from the first byte of the IP header on, at least `bytesRead` bytes or the whole */
export function readOpening(packet: Buffer): OpeningPacket {
  const version = (packet[0] ?? 0) >> 4
  if (version === 4 && packet.length >= 20) {
    return readTransport(packet, packet[9]!, (packet[0]! & 0xf) * 4, 12, 4, packet.readUInt16BE(2))
  }
  if (version === 6 && packet.length >= 40) {
    let next = packet[6]!
    let offset = 40
    while (skippable.has(next) && offset + 2 <= packet.length) {
      next = packet[offset]!
      offset += (packet[offset + 1]! + 1) * 8
    }
    return readTransport(packet, next, offset, 8, 16, 40 + packet.readUInt16BE(4))
  }
  return { kind: 'other' }
}

function readTransport(
  packet: Buffer,
  protocol: number,
  offset: number,
  addresses: number,
  addressLength: number,
  bytes: number,
): OpeningPacket {
  if (protocol === udp) return { kind: 'datagram', bytes }
  if (protocol !== tcp || packet.length < offset + 14 || (packet[offset + 13]! & openingMask) !== syn) {
    return { kind: 'other' }
  }
  // Both addresses stand side by side, and so do both ports.
  const ends = packet.toString('latin1', addresses, addresses + 2 * addressLength)
  return { kind: 'syn', flow: ends + packet.toString('latin1', offset, offset + 4) }
}
