/** The packets that wait, in the order in which they came: what is let in, what is turned away, who is next. */

import type { QueuedPacket } from '../kernel/packet-queue.js'
import type { OpeningPacket } from './opening-packet.js'

export interface HoldLimits {
  /** SYNs and datagrams together. */
  maxPackets: number
  /** Of datagrams, headers included. */
  maxBytes: number
}

export interface HoldCounts {
  /** Connections that wait now, and datagrams with their bytes. */
  syns: number
  datagrams: number
  bytes: number
  /** Since the hold began: packets let go on. */
  released: number
  /** Retransmissions of SYNs that wait. */
  repeated: number
  /** Turned away since the room was full. Their senders try again. */
  dropped: number
  /** Gone from the kernel's queue before they were released (see kernel/packet-queue.ts). */
  lost: number
}

/** What can wait. */
export type Opening = Exclude<OpeningPacket, { kind: 'other' }>

interface Guest {
  packet: QueuedPacket
  opening: Opening
}

export class WaitingRoom {
  /** In order of arrival; those before `first` have been released. */
  private guests: Guest[] = []
  private first = 0
  private readonly flows = new Map<string, Guest>()
  readonly counts: HoldCounts = {
    syns: 0,
    datagrams: 0,
    bytes: 0,
    released: 0,
    repeated: 0,
    dropped: 0,
    lost: 0,
  }
  constructor(private readonly limits: HoldLimits) {}

  get size(): number {
    return this.guests.length - this.first
  }

  /** @returns the packet that is to be dropped at once: this one, or one that it takes the place of */
  admit(packet: QueuedPacket, opening: Opening): QueuedPacket | null {
    if (opening.kind === 'syn') {
      const known = this.flows.get(opening.flow)
      if (known) {
        // The newer one stays, in the older one's place: the kernel may have lost the older one, and
        // a client that has begun anew answers only its newest attempt.
        const older = known.packet
        known.packet = packet
        this.counts.repeated++
        return older
      }
    }
    const bytes = opening.kind === 'datagram' ? opening.bytes : 0
    if (this.size >= this.limits.maxPackets || this.counts.bytes + bytes > this.limits.maxBytes) {
      this.counts.dropped++
      return packet
    }
    const guest = { packet, opening }
    this.guests.push(guest)
    if (opening.kind === 'syn') {
      this.flows.set(opening.flow, guest)
      this.counts.syns++
    } else {
      this.counts.datagrams++
      this.counts.bytes += bytes
    }
    return null
  }

  /** The next `count` packets, or as many as there are; they leave. */
  leave(count: number): QueuedPacket[] {
    const leaving = this.guests.slice(this.first, this.first + count)
    this.first += leaving.length
    for (const { opening } of leaving) {
      if (opening.kind === 'syn') {
        this.flows.delete(opening.flow)
        this.counts.syns--
      } else {
        this.counts.datagrams--
        this.counts.bytes -= opening.bytes
      }
    }
    this.counts.released += leaving.length
    if (this.size === 0) {
      this.guests = []
      this.first = 0
    }
    return leaving.map(({ packet }) => packet)
  }
}
