/**
 * The only importer of the `netlink` package: sockets that ask the kernel one thing at a time.
 *
 * The package's native part can abort the whole process, and nothing in JavaScript can catch it: when
 * the socket's receive buffer overruns (libuv reports an error, and its message is built from a null
 * pointer), and when anything throws in the tick in which a datagram is delivered. Hence:
 *  - one request in flight a socket; the kernel paces dumps itself, so the buffer can't overrun;
 *  - the delivery only stores the bytes; all work is done a setImmediate later;
 *  - no multicast groups: events overrun the buffer whenever this process is slow, and the package
 *    can't set NETLINK_NO_ENOBUFS. What must be watched is watched through a child process.
 */
import { getSystemErrorName } from 'node:util'
import { RawNetlinkSocket } from 'netlink'
import { control, decodeMessages, encodeMessage, flag, type NetlinkMessage } from './netlink-message.js'

/** Protocols of socket(AF_NETLINK, …): include/uapi/linux/netlink.h. */
export const netlinkProtocol = { route: 0, sockDiag: 4, netfilter: 12 } as const

/** The kernel answered a request with an error. */
export class NetlinkError extends Error {
  /** The name of the number, e.g. 'EEXIST'. */
  readonly errno: string
  constructor(errno: string, request: string) {
    super(`the kernel answered ${errno} to ${request}`)
    this.name = 'NetlinkError'
    this.errno = errno
  }
}

/** Whether the kernel refused with one of these, e.g. `isErrno(error, 'EEXIST')`. */
export const isErrno = (error: unknown, ...names: string[]): boolean =>
  error instanceof NetlinkError && names.includes(error.errno)

/** Requests of one socket run in the order in which they were made, each after the answer to the one before. */
export interface Netlink {
  /**
   * One request with NLM_F_REQUEST and NLM_F_ACK set; resolves when the acknowledgement comes.
   * @param type nlmsg_type, for netfilter `subsystem << 8 | message`
   * @param flags further flags, e.g. `flag.create | flag.excl`
   * @returns what the kernel sent ahead of the acknowledgement: nothing for a change, one message for a get
   * @throws NetlinkError
   */
  request(type: number, payload: Buffer, flags?: number): Promise<NetlinkMessage[]>
  /**
   * Many requests of one type in one datagram, for thousands of small changes: at most `mostAtOnce`.
   * @returns the name of the errno of each, or null where it was done
   */
  requestAll(type: number, payloads: readonly Buffer[], flags?: number): Promise<(string | null)[]>
  /**
   * Changes of one netfilter subsystem in one datagram, all or none (NFNL_MSG_BATCH_BEGIN in
   * include/uapi/linux/netfilter/nfnetlink.h): some 200 kB at most.
   * @param subsystem e.g. NFNL_SUBSYS_NFTABLES, 10
   * @throws NetlinkError of the first that the kernel refused
   */
  batch(subsystem: number, changes: readonly NetlinkRequest[]): Promise<void>
  /**
   * A dump, whole. One that changed under our hands (NLM_F_DUMP_INTR) is asked for again.
   * @throws NetlinkError; 'EINTR' where it never stood still.
   */
  dump(type: number, payload: Buffer): Promise<NetlinkMessage[]>
  /**
   * A dump, message by message, for tables too large to hold; interruptions are not retried.
   * What `each` throws rejects the promise, once the kernel is done.
   */
  dumpEach(type: number, payload: Buffer, each: (message: NetlinkMessage) => void): Promise<void>
  /** What is pending is rejected. */
  close(): void
}

/** A socket for links, addresses, routes and rules (rtnetlink(7)). */
export const openRoute = (): Netlink => openRaw(netlinkProtocol.route)

/**
 * A socket of any netlink protocol, in the network namespace of this process.
 * @param protocol e.g. `netlinkProtocol.netfilter` or `netlinkProtocol.sockDiag`
 */
export const openRaw = (protocol: number): Netlink => new SerialNetlink(protocol)

/** The kernel answers within microseconds, but a large dump on a loaded machine takes its time. */
const answerTimeout = 30_000
const dumpAttempts = 10

/**
 * The kernel sizes the datagrams of a dump by the largest read that it saw, up to 32 KiB: larger reads
 * gain nothing, smaller ones (peeking reads one byte first) make a dump of 100,000 entries slow.
 */
const readSize = 32_768

/** Each may be answered by an error that repeats it: all of them must fit into the receive buffer (208 KiB by default). */
export const mostAtOnce = 100

/** One message: its nlmsg_type (for netfilter `subsystem << 8 | message`), its flags, and what follows its header. */
export type NetlinkRequest = Pick<NetlinkMessage, 'type' | 'flags' | 'payload'>

/** nlmsg_type of what stands around a batch. */
const batchMessage = { begin: 0x10, end: 0x11 } as const

interface Pending {
  /** Of the first message, where there are several. */
  first: number
  /** Of the last one, whose answer ends it. */
  seq: number
  /** The kernel answers an error to one before the last, counted from 0. @returns whether that was its last word */
  fail: (index: number, errno: string) => boolean
  request: string
  each: (message: NetlinkMessage) => void
  settle: (error: Error | null) => void
}

/** As requests of which the last is acknowledged; what fails is told of in any case. */
const acknowledged = (messages: readonly NetlinkRequest[]): NetlinkRequest[] =>
  messages.map((message, i) => ({
    ...message,
    flags: flag.request | message.flags | (i === messages.length - 1 ? flag.ack : 0),
  }))

class SerialNetlink implements Netlink {
  private readonly socket: RawNetlinkSocket
  private readonly datagrams: Buffer[] = []
  private tail: Promise<unknown> = Promise.resolve()
  private pending: Pending | null = null
  private fault: Error | null = null
  private scheduled = false
  private seq = 0

  constructor(protocol: number) {
    this.socket = new RawNetlinkSocket(protocol, {
      messagePeeking: false,
      msgBufferSize: readSize,
      // 0 leaves the system's default.
      recvBufferSize: 0,
      sendBufferSize: 0,
    })
    this.socket.on('message', (datagram) => {
      this.datagrams.push(datagram)
      this.schedule()
    })
    this.socket.on('truncatedMessage', () => {
      this.fault = new Error(`netlink datagram larger than ${readSize} bytes`)
      this.schedule()
    })
    this.socket.on('error', (error) => {
      this.fault = error
      this.schedule()
    })
    // An idle socket must not keep the process alive.
    this.socket.unref()
  }

  async request(type: number, payload: Buffer, flags = 0): Promise<NetlinkMessage[]> {
    const replies: NetlinkMessage[] = []
    await this.enqueue(acknowledged([{ type, flags, payload }]), (message) => replies.push(message))
    return replies
  }

  async requestAll(type: number, payloads: readonly Buffer[], flags = 0): Promise<(string | null)[]> {
    const results: (string | null)[] = payloads.map(() => null)
    if (payloads.length === 0) return results
    const last = payloads.length - 1
    try {
      await this.enqueue(
        acknowledged(payloads.map((payload) => ({ type, flags, payload }))),
        () => {},
        (index, errno) => {
          results[index] = errno
          return false
        },
      )
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.errno === 'ETIMEDOUT') throw error
      results[last] = error.errno
    }
    return results
  }

  async batch(subsystem: number, changes: readonly NetlinkRequest[]): Promise<void> {
    if (changes.length === 0) return
    // struct nfgenmsg: AF_UNSPEC, NFNETLINK_V0, and in res_id the subsystem.
    const around = Buffer.from([0, 0, 0, subsystem])
    let refused: NetlinkError | null = null
    // The answer comes when the batch is done: all of it, or nothing.
    const messages = acknowledged([{ type: batchMessage.begin, flags: 0, payload: around }, ...changes])
    const end = { type: batchMessage.end, flags: flag.request, payload: around }
    await this.enqueue(
      messages,
      () => {},
      (index, errno) => {
        refused ??= new NetlinkError(errno, `netlink message ${messages[index]?.type}`)
        // Without a beginning nothing of it is looked at.
        return index === 0
      },
      [end],
    )
    if (refused) throw refused
  }

  async dump(type: number, payload: Buffer): Promise<NetlinkMessage[]> {
    for (let attempt = 0; attempt < dumpAttempts; attempt += 1) {
      const messages: NetlinkMessage[] = []
      let interrupted = false
      await this.enqueue([{ type, flags: flag.request | flag.dump, payload }], (message) => {
        interrupted ||= (message.flags & flag.dumpInterrupted) !== 0
        messages.push(message)
      })
      if (!interrupted) return messages
    }
    throw new NetlinkError('EINTR', `dump ${type}, ${dumpAttempts} times`)
  }

  async dumpEach(type: number, payload: Buffer, each: (message: NetlinkMessage) => void): Promise<void> {
    let thrown: { error: unknown } | null = null
    await this.enqueue([{ type, flags: flag.request | flag.dump, payload }], (message) => {
      if (thrown) return
      try {
        each(message)
      } catch (error) {
        thrown = { error }
      }
    })
    if (thrown) throw (thrown as { error: unknown }).error
  }

  close(): void {
    const error = new Error('the netlink socket was closed')
    this.fault = error
    this.pending?.settle(error)
    this.socket.close()
  }

  /** @param behind messages that are not answered */
  private enqueue(
    messages: readonly NetlinkRequest[],
    each: (message: NetlinkMessage) => void,
    fail: Pending['fail'] = () => false,
    behind: readonly NetlinkRequest[] = [],
  ): Promise<void> {
    const result = this.tail.then(() => this.exchange(messages, each, fail, behind))
    this.tail = result.catch(() => {})
    return result
  }

  private exchange(
    messages: readonly NetlinkRequest[],
    each: (message: NetlinkMessage) => void,
    fail: Pending['fail'],
    behind: readonly NetlinkRequest[],
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.fault) return reject(this.fault)
      const all = [...messages, ...behind]
      // So many numbers in a row, without a wrap in between.
      const first = (this.seq > 0xffffffff - all.length ? 0 : this.seq) + 1
      const seq = first + messages.length - 1
      this.seq = first + all.length - 1
      const request = `netlink message ${messages.at(-1)?.type}`
      const timer = setTimeout(() => settle(new NetlinkError('ETIMEDOUT', request)), answerTimeout)
      const settle = (error: Error | null): void => {
        clearTimeout(timer)
        this.pending = null
        if (!this.fault) this.socket.unref()
        if (error) reject(error)
        else resolve()
      }
      this.pending = { first, seq, request, each, fail, settle }
      this.socket.ref()
      const bytes = Buffer.concat(all.map((message, i) => encodeMessage({ ...message, seq: first + i })))
      this.socket.send(bytes, undefined, (error) => {
        if (!error) return
        setImmediate(() => this.pending?.seq === seq && settle(error))
      })
    })
  }

  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    setImmediate(() => {
      this.scheduled = false
      this.deliver()
    })
  }

  private deliver(): void {
    for (const datagram of this.datagrams.splice(0)) {
      let messages: NetlinkMessage[]
      try {
        messages = decodeMessages(datagram)
      } catch (error) {
        this.fault = error as Error
        break
      }
      for (const message of messages) this.take(message)
    }
    if (this.fault) this.pending?.settle(this.fault)
  }

  private take(message: NetlinkMessage): void {
    const pending = this.pending
    // A late answer to a request that timed out.
    if (!pending || message.seq < pending.first || message.seq > pending.seq) return
    if (message.type !== control.error && message.type !== control.done) {
      pending.each(message)
      return
    }
    // Both begin with a negative errno, 0 for an acknowledgement; a DONE may be empty.
    const errno = message.payload.length >= 4 ? -message.payload.readInt32LE(0) : 0
    if (message.seq !== pending.seq) {
      if (errno !== 0 && pending.fail(message.seq - pending.first, errnoName(errno))) pending.settle(null)
      return
    }
    pending.settle(errno === 0 ? null : new NetlinkError(errnoName(errno), pending.request))
  }
}

/** ENOTSUPP is the kernel's own, outside errno.h; several handlers let it out. 95 is 'ENOTSUP' to node. */
const errnoName = (errno: number): string => (errno === 524 ? 'ENOTSUPP' : getSystemErrorName(-errno))
