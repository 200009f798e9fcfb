/**
 * One queue of netfilter's, by netlink: include/uapi/linux/netfilter/nfnetlink_queue.h.
 *
 * What the kernel does of itself, and why that is safe here: when the socket closes, all that is queued
 * is dropped; while nobody listens, what would be queued is dropped; when any base chain of the network
 * namespace goes (Docker's restart, `nft -f` that fails), all that is queued is dropped without a word,
 * and a later verdict is answered with ENOENT. A client whose SYN was dropped sends it again.
 *
 * Run it in a process of its own: where the socket's buffer overruns, the netlink package aborts it (see
 * kernel/netlink.ts).
 */
import { getSystemErrorName } from 'node:util'
import { RawNetlinkSocket } from 'netlink'
import { netlinkProtocol } from './netlink.js'
import {
  attribute,
  control,
  decodeMessages,
  encodeMessage,
  flag,
  type NetlinkMessage,
  readAttributes,
  u16be,
  u32be,
} from './netlink-message.js'

/** NFNL_SUBSYS_QUEUE in the upper byte, NFQNL_MSG_* in the lower. */
const message = { packet: 0x300, verdict: 0x301, config: 0x302 } as const
/** NFQA_*, of packets and verdicts. */
const attributes = { packetHeader: 1, verdictHeader: 2, mark: 3, payload: 10 } as const
/** NFQA_CFG_*. */
const config = { command: 1, parameters: 2, longest: 3 } as const
const bind = 1
const copyPacket = 2
/** NF_DROP and NF_ACCEPT: accepted, a packet goes on with the hook behind the one that queued it. */
const verdicts = { drop: 0, accept: 1 } as const
const enoent = 2

/** What a message holds beside the packet's bytes is far smaller; the kernel never joins two messages. */
const readSize = 4096
/**
 * Asked for; the kernel gives net.core.rmem_max at most (Debian: 208 KiB, doubled: some 400 packets that
 * this process has not yet read).
 */
const receiveBuffer = 8 * 1024 * 1024

/** A packet that the kernel keeps for us. */
export interface QueuedPacket {
  id: number
  /** Its routing mark. */
  mark: number
}

export interface PacketQueueEvents {
  onPacket(packet: QueuedPacket, bytes: Buffer): void
  /** A packet was gone when its verdict came. */
  onLost(): void
  /** The queue can't go on. */
  onFault(error: Error): void
}

export class PacketQueue {
  private readonly socket: RawNetlinkSocket
  private readonly datagrams: Buffer[] = []
  private scheduled = false
  private seq = 0
  private readonly answers = new Map<number, (errno: number) => void>()

  private constructor(
    private readonly number: number,
    private readonly bytesRead: number,
    private readonly events: PacketQueueEvents,
  ) {
    this.socket = new RawNetlinkSocket(netlinkProtocol.netfilter, {
      messagePeeking: false,
      msgBufferSize: readSize,
      recvBufferSize: receiveBuffer,
      sendBufferSize: 0,
    })
    // An exception in the tick that delivers a message would abort the process.
    this.socket.on('message', (datagram) => {
      this.datagrams.push(datagram)
      this.schedule()
    })
    this.socket.on('error', (error) => setImmediate(() => events.onFault(error)))
  }

  /**
   * Listens to a queue.
   * @param bytesRead of each packet, from its IP header on; below 3,000
   * @param longest packets that the kernel keeps; further ones are dropped there
   * @throws Error where another process has this queue, or the kernel has no queues
   */
  static async open(
    number: number,
    bytesRead: number,
    longest: number,
    events: PacketQueueEvents,
  ): Promise<PacketQueue> {
    const queue = new PacketQueue(number, bytesRead, events)
    try {
      await queue.configure(attribute(config.command, Buffer.from([bind, 0, 0, 0])))
      await queue.configure(Buffer.concat([queue.parameters(), attribute(config.longest, u32be(longest))]))
    } catch (error) {
      queue.close()
      throw error
    }
    return queue
  }

  /** Lets packets go on, in this order, each with the mark given. One system call for all. */
  accept(packets: readonly QueuedPacket[]): void {
    this.judge(verdicts.accept, packets)
  }

  drop(packet: QueuedPacket): void {
    this.judge(verdicts.drop, [packet])
  }

  /** Resolves once all that was queued before this call has been given to `onPacket`. */
  async caughtUp(): Promise<void> {
    // The kernel answers through the same socket, behind the packets.
    await this.configure(this.parameters())
  }

  close(): void {
    this.socket.close()
  }

  private judge(verdict: number, packets: readonly QueuedPacket[]): void {
    if (packets.length === 0) return
    const messages = packets.map(({ id, mark }) =>
      this.encode(
        message.verdict,
        0,
        Buffer.concat([
          attribute(attributes.verdictHeader, Buffer.concat([u32be(verdict), u32be(id)])),
          attribute(attributes.mark, u32be(mark)),
        ]),
      ),
    )
    this.socket.send(Buffer.concat(messages), undefined, (error) => {
      if (error) setImmediate(() => this.events.onFault(error))
    })
  }

  private parameters(): Buffer {
    return attribute(config.parameters, Buffer.concat([u32be(this.bytesRead), Buffer.from([copyPacket])]))
  }

  private configure(body: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      const bytes = this.encode(message.config, flag.ack, body)
      this.answers.set(this.seq, (errno) =>
        errno === 0
          ? resolve()
          : reject(
              new Error(`the kernel answers ${getSystemErrorName(-errno)} to the use of packet queue ${this.number}`),
            ),
      )
      this.socket.send(bytes, undefined, (error) => {
        if (error) setImmediate(() => reject(error))
      })
    })
  }

  /** With struct nfgenmsg ahead of the attributes: family, version, the queue's number. */
  private encode(type: number, flags: number, body: Buffer): Buffer {
    this.seq = (this.seq % 0xffffffff) + 1
    const payload = Buffer.concat([Buffer.from([0, 0]), u16be(this.number), body])
    return encodeMessage({ type, flags: flag.request | flags, seq: this.seq, payload })
  }

  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    setImmediate(() => {
      this.scheduled = false
      for (const datagram of this.datagrams.splice(0)) {
        for (const received of decodeMessages(datagram)) this.take(received)
      }
    })
  }

  private take(received: NetlinkMessage): void {
    if (received.type === control.error) {
      const errno = -received.payload.readInt32LE(0)
      const answer = this.answers.get(received.seq)
      this.answers.delete(received.seq)
      if (answer) answer(errno)
      else if (errno === enoent) this.events.onLost()
      else if (errno !== 0)
        this.events.onFault(new Error(`the kernel answers ${getSystemErrorName(-errno)} to a verdict`))
      return
    }
    if (received.type !== message.packet) return
    const found = readAttributes(received.payload.subarray(4))
    const header = found.get(attributes.packetHeader)
    if (!header) return
    const packet = { id: header.readUInt32BE(0), mark: found.get(attributes.mark)?.readUInt32BE(0) ?? 0 }
    this.events.onPacket(packet, found.get(attributes.payload) ?? Buffer.alloc(0))
  }
}
