/**
 * Connection tracking over ctnetlink (include/uapi/linux/netfilter/nfnetlink_conntrack.h): a filtered
 * dump, and deletion of exactly one entry. conntrack(8) 1.4.7 can't name an entry that has a zone for
 * its original direction only.
 */
import { type Family, familyOf, type Ip } from '../../proto/model/address.js'
import type { Protocol } from '../../proto/model/host-spec.js'
import {
  cta,
  decodeTimes,
  eachAttribute,
  filterAttribute,
  filterFlag,
  ipAttribute,
  protoAttribute,
  tupleAttribute,
} from './conntrack-attributes.js'
import { decodeTcpState, isPickedUp, type TcpState, tcpStateOf, tcpStates } from './conntrack-tcp.js'
import { addressFamily, bytesToIp, ipToBytes } from './ip-bytes.js'
import { isErrno, mostAtOnce, type Netlink, netlinkProtocol, openRaw } from './netlink.js'
import { attribute, flag, nest, u8, u16be, u32be } from './netlink-message.js'

/** One direction of a connection, ports as numbers. */
export interface Tuple {
  source: Ip
  destination: Ip
  sourcePort: number
  destinationPort: number
}

export interface ConntrackEntry {
  family: Family
  /** Distinguishes this entry from a later one with the same tuple. */
  id: number
  protocol: Protocol
  /** As the first packet had it. */
  original: Tuple
  /** As the answer has it: translated addresses and ports show here. */
  reply: Tuple
  mark: number
  /** Bits of enum ip_conntrack_status: `status`. */
  status: number
  tcpState: TcpState | null
  /** Seconds until it is forgotten, unless packets come. */
  timeout: number
  /** Of the original direction; 0: the default. */
  zone: number
  /** Of both directions; null where the host doesn't count (nf_conntrack_acct). */
  counters: { packets: number; bytes: number } | null
  /** The bytes of each direction; null as above. */
  bytes: { original: number; reply: number } | null
  /** Milliseconds since 1970; null where the host doesn't note them (nf_conntrack_timestamp), 0 for not yet. */
  times: { start: number; stop: number } | null
  /** The kernel has not seen its beginning; only known where `times` are noted. */
  pickedUp?: boolean
}

/** A TCP connection that both ends have talked in. */
export interface NewConntrackEntry extends Pick<ConntrackEntry, 'family' | 'original' | 'reply' | 'mark' | 'timeout'> {
  tcpState: TcpState
}

export const status = { seenReply: 0x2, assured: 0x4, confirmed: 0x8 } as const

/** Only TCP and UDP entries are ever reported. */
export interface ConntrackFilter {
  family?: Family
  mark?: { value: number; mask: number }
  protocol?: Protocol
  /** Of the original direction: where the client's first packet went. `port` needs `protocol`. */
  destination?: { address: Ip; port?: number }
  /** Likewise: the client. Needs `destination`. */
  source?: { address: Ip; port?: number }
  /**
   * Of TCP entries those in one of these states. Looked at before anything else is read: of a busy service nearly all
   * entries are in time-wait.
   */
  tcpStates?: readonly TcpState[]
  /** Those to which nothing has come back yet. */
  unanswered?: true
}

export interface Conntrack {
  /**
   * Every entry that passes the filter, as the kernel walks them; the event loop runs on between
   * portions. An entry that comes and goes meanwhile may be seen or not.
   */
  walk(filter: ConntrackFilter, visit: (entry: ConntrackEntry) => void): Promise<void>
  /** @returns false where the entry (by tuple, zone and id) was gone already. */
  delete(entry: ConntrackEntry): Promise<boolean>
  /** Many at once. @returns how many were still there */
  deleteAll(entries: readonly ConntrackEntry[]): Promise<number>
  /** The entry that has this tuple in one of its directions, without zones. */
  find(protocol: Protocol, tuple: Tuple): Promise<ConntrackEntry | undefined>
  /**
   * Puts entries in, as if the kernel had picked them up in their middle: without a look at sequence numbers.
   * @returns for each: 'taken' where one of its tuples has an entry, 'refused' where the table is full
   */
  insert(entries: readonly NewConntrackEntry[]): Promise<('in' | 'taken' | 'refused')[]>
  close(): void
}

/** IPCTNL_MSG_CT_NEW, _GET and _DELETE of NFNL_SUBSYS_CTNETLINK. */
const message = { new: (1 << 8) | 0, get: (1 << 8) | 1, delete: (1 << 8) | 2 } as const
const protocolNumber: Record<Protocol, number> = { tcp: 6, udp: 17 }
const nfgenmsgLength = 4

/** A socket of its own to the connection tracking of this process's network namespace. */
export const openConntrack = (): Conntrack => new NetlinkConntrack(openRaw(netlinkProtocol.netfilter))

class NetlinkConntrack implements Conntrack {
  constructor(private readonly netlink: Netlink) {}

  async walk(filter: ConntrackFilter, visit: (entry: ConntrackEntry) => void): Promise<void> {
    const { tcpStates: states } = filter
    await this.netlink.dumpEach(message.get, encodeFilter(filter), ({ payload }) => {
      const state = states && tcpStateOf(payload)
      if (state && !states.includes(state)) return
      const entry = decodeEntry(payload)
      // Kernels before 5.8 leave the filter by tuple aside.
      if (entry && passes(entry, filter)) visit(entry)
    })
  }

  async delete(entry: ConntrackEntry): Promise<boolean> {
    try {
      await this.netlink.request(message.delete, encodeIdentity(entry))
      return true
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return false
      throw error
    }
  }

  async deleteAll(entries: readonly ConntrackEntry[]): Promise<number> {
    let deleted = 0
    for (let start = 0; start < entries.length; start += mostAtOnce) {
      const payloads = entries.slice(start, start + mostAtOnce).map(encodeIdentity)
      const results = await this.netlink.requestAll(message.delete, payloads)
      deleted += results.filter((errno) => errno === null).length
    }
    return deleted
  }

  async find(protocol: Protocol, tuple: Tuple): Promise<ConntrackEntry | undefined> {
    const start = header(addressFamily(familyOf(tuple.source)))
    try {
      const asked = Buffer.concat([start, encodeTuple(cta.original, protocol, tuple, 0)])
      const [reply] = await this.netlink.request(message.get, asked)
      return reply && decodeEntry(reply.payload)
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined
      throw error
    }
  }

  async insert(entries: readonly NewConntrackEntry[]): Promise<('in' | 'taken' | 'refused')[]> {
    const results: (string | null)[] = []
    for (let start = 0; start < entries.length; start += mostAtOnce) {
      const payloads = entries.slice(start, start + mostAtOnce).map(encodeNew)
      results.push(...(await this.netlink.requestAll(message.new, payloads, flag.create | flag.excl)))
    }
    return results.map((errno) => (errno === null ? 'in' : errno === 'EEXIST' ? 'taken' : 'refused'))
  }

  close(): void {
    this.netlink.close()
  }
}

/** struct nfgenmsg: family, version 0, resource 0. */
const header = (family: number): Buffer => Buffer.from([family, 0, 0, 0])

function encodeFilter(filter: ConntrackFilter): Buffer {
  const { mark, protocol, destination, source } = filter
  const family = filter.family ?? (destination && familyOf(destination.address))
  const parts = [header(family === undefined ? 0 : addressFamily(family))]
  // Value and mask. Tried on Linux 6.18; where a kernel leaves it aside, `passes` sees to it.
  if (filter.unanswered) {
    parts.push(attribute(cta.status, u32be(0)), attribute(cta.statusMask, u32be(status.seenReply)))
  }
  if (mark) parts.push(attribute(cta.mark, u32be(mark.value)), attribute(cta.markMask, u32be(mark.mask)))
  // The kernel refuses a tuple of no family.
  if (family !== undefined && (protocol || destination)) {
    const proto = protocol ? [attribute(protoAttribute.number, u8(protocolNumber[protocol]))] : []
    let flags = protocol ? filterFlag.protocolNumber : 0
    const tuple: Buffer[] = []
    if (destination) {
      // Of IPv6 the kernel (6.18 too) passes over exactly the entries that match: the sign of
      // ipv6_addr_cmp is wrong in ctnetlink_filter_match_tuple. `passes` sees to the address.
      if (family === 4) {
        flags |= filterFlag.destination | (source ? filterFlag.source : 0)
        const from = source ? [attribute(ipAttribute.source4, ipToBytes(source.address))] : []
        const to = attribute(ipAttribute.destination4, ipToBytes(destination.address))
        tuple.push(nest(tupleAttribute.ip, ...from, to))
      }
      if (protocol && source?.port !== undefined) {
        flags |= filterFlag.sourcePort
        proto.push(attribute(protoAttribute.sourcePort, u16be(source.port)))
      }
      if (protocol && destination.port !== undefined) {
        flags |= filterFlag.destinationPort
        proto.push(attribute(protoAttribute.destinationPort, u16be(destination.port)))
      }
    }
    if (proto.length > 0) tuple.push(nest(tupleAttribute.proto, ...proto))
    const bits = Buffer.alloc(4)
    bits.writeUInt32LE(flags)
    parts.push(
      nest(cta.original, ...tuple),
      nest(
        cta.filter,
        attribute(filterAttribute.originalFlags, bits),
        attribute(filterAttribute.replyFlags, Buffer.alloc(4)),
      ),
    )
  }
  return Buffer.concat(parts)
}

function passes(entry: ConntrackEntry, filter: ConntrackFilter): boolean {
  const { family, mark, protocol, destination, source } = filter
  if (filter.unanswered && (entry.status & status.seenReply) !== 0) return false
  if (family !== undefined && entry.family !== family) return false
  if (mark && ((entry.mark ^ mark.value) & mark.mask) !== 0) return false
  if (protocol && entry.protocol !== protocol) return false
  if (destination && entry.original.destination !== destination.address) return false
  if (destination?.port !== undefined && entry.original.destinationPort !== destination.port) return false
  if (source && entry.original.source !== source.address) return false
  return source?.port === undefined || entry.original.sourcePort === source.port
}

/** Everything that the kernel compares: a deletion without a tuple would empty the whole table. */
const encodeIdentity = (entry: ConntrackEntry): Buffer =>
  Buffer.concat([
    header(addressFamily(entry.family)),
    encodeTuple(cta.original, entry.protocol, entry.original, entry.zone),
    attribute(cta.id, u32be(entry.id)),
  ])

/** enum ctattr_protoinfo and ctattr_protoinfo_tcp; IP_CT_TCP_FLAG_SACK_PERM and _BE_LIBERAL, as tcp_new() sets them. */
const tcpInfo = { tcp: 1, state: 1, originalFlags: 4, replyFlags: 5 } as const
const pickedUp = 0x2 | 0x8
/**
 * IP_CT_TCP_FLAG_CLOSE_INIT, which the kernel sets when it sees a FIN. Without it a new SYN from the same port is
 * let through by the old entry instead of being tracked and translated anew (nf_conntrack_tcp_packet).
 */
const closing = 0x4

function encodeNew({ family, original, reply, mark, tcpState, timeout }: NewConntrackEntry): Buffer {
  // struct nf_ct_tcp_flags: flags, mask.
  const flags = Buffer.from([tcpState === 'established' ? pickedUp : pickedUp | closing, pickedUp | closing])
  const state = attribute(tcpInfo.state, u8(tcpStates.indexOf(tcpState)))
  const seen = [state, attribute(tcpInfo.originalFlags, flags), attribute(tcpInfo.replyFlags, flags)]
  return Buffer.concat([
    header(addressFamily(family)),
    encodeTuple(cta.original, 'tcp', original, 0),
    encodeTuple(cta.reply, 'tcp', reply, 0),
    attribute(cta.status, u32be(status.seenReply | status.assured | status.confirmed)),
    attribute(cta.timeout, u32be(timeout)),
    attribute(cta.mark, u32be(mark)),
    nest(cta.protoInfo, nest(tcpInfo.tcp, ...seen)),
  ])
}

function encodeTuple(type: number, protocol: Protocol, tuple: Tuple, zone: number): Buffer {
  const [source, destination] =
    familyOf(tuple.source) === 4
      ? [ipAttribute.source4, ipAttribute.destination4]
      : [ipAttribute.source6, ipAttribute.destination6]
  return nest(
    type,
    nest(
      tupleAttribute.ip,
      attribute(source, ipToBytes(tuple.source)),
      attribute(destination, ipToBytes(tuple.destination)),
    ),
    nest(
      tupleAttribute.proto,
      attribute(protoAttribute.number, u8(protocolNumber[protocol])),
      attribute(protoAttribute.sourcePort, u16be(tuple.sourcePort)),
      attribute(protoAttribute.destinationPort, u16be(tuple.destinationPort)),
    ),
    ...(zone === 0 ? [] : [attribute(tupleAttribute.zone, u16be(zone))]),
  )
}

/**
 * By offsets rather than by `readAttributes`: of a dump of 100,000 entries, maps and slices for every
 * nest take most of the time.
 * @returns undefined for what is neither TCP nor UDP
 */
export function decodeEntry(payload: Buffer): ConntrackEntry | undefined {
  let original: DecodedTuple | undefined
  let reply: DecodedTuple | undefined
  let tcpState: TcpState | null = null
  let zone: number | undefined
  let counters: ConntrackEntry['counters'] = null
  let bytes: ConntrackEntry['bytes'] = null
  let times: ConntrackEntry['times'] = null
  let info: [start: number, end: number] | undefined
  const numbers = { id: 0, mark: 0, status: 0, timeout: 0 }
  eachAttribute(payload, nfgenmsgLength, payload.length, (type, start, end) => {
    if (type === cta.original) original = decodeTuple(payload, start, end)
    else if (type === cta.reply) reply = decodeTuple(payload, start, end)
    else if (type === cta.protoInfo) {
      tcpState = decodeTcpState(payload, start, end)
      info = [start, end]
    } else if (type === cta.id) numbers.id = payload.readUInt32BE(start)
    else if (type === cta.mark) numbers.mark = payload.readUInt32BE(start)
    else if (type === cta.status) numbers.status = payload.readUInt32BE(start)
    else if (type === cta.timeout) numbers.timeout = payload.readUInt32BE(start)
    else if (type === cta.zone) zone = payload.readUInt16BE(start)
    else if (type === cta.countersOriginal || type === cta.countersReply) {
      const before = counters?.bytes ?? 0
      counters = addCounters(counters, payload, start, end)
      bytes ??= { original: 0, reply: 0 }
      bytes[type === cta.countersOriginal ? 'original' : 'reply'] = counters.bytes - before
    } else if (type === cta.timestamp) times = decodeTimes(payload, start, end)
  })
  // Assigned in a callback, which the compiler doesn't follow.
  const [first, answer] = [original as DecodedTuple | undefined, reply as DecodedTuple | undefined]
  if (!first || !answer) return undefined
  return {
    family: payload[0] === addressFamily(4) ? 4 : 6,
    protocol: first.protocol,
    original: first.tuple,
    reply: answer.tuple,
    ...numbers,
    tcpState: first.protocol === 'tcp' ? tcpState : null,
    // On the entry where it holds for both directions, in the tuple where it holds for one.
    zone: zone ?? first.zone,
    counters,
    bytes,
    times,
    ...(times && info && isPickedUp(payload, ...(info as [number, number])) ? { pickedUp: true } : {}),
  }
}

interface DecodedTuple {
  protocol: Protocol
  tuple: Tuple
  zone: number
}

function decodeTuple(bytes: Buffer, from: number, to: number): DecodedTuple | undefined {
  let number = 0
  let zone = 0
  const tuple: Tuple = { source: '' as Ip, destination: '' as Ip, sourcePort: 0, destinationPort: 0 }
  eachAttribute(bytes, from, to, (type, start, end) => {
    if (type === tupleAttribute.zone) zone = bytes.readUInt16BE(start)
    else if (type === tupleAttribute.ip) {
      eachAttribute(bytes, start, end, (inner, at, until) => {
        const isSource = inner === ipAttribute.source4 || inner === ipAttribute.source6
        tuple[isSource ? 'source' : 'destination'] = addressText(bytes, at, until)
      })
    } else if (type === tupleAttribute.proto) {
      eachAttribute(bytes, start, end, (inner, at) => {
        if (inner === protoAttribute.number) number = bytes.readUInt8(at)
        else if (inner === protoAttribute.sourcePort) tuple.sourcePort = bytes.readUInt16BE(at)
        else if (inner === protoAttribute.destinationPort) tuple.destinationPort = bytes.readUInt16BE(at)
      })
    }
  })
  const protocol = number === protocolNumber.tcp ? 'tcp' : number === protocolNumber.udp ? 'udp' : undefined
  return protocol && { protocol, tuple, zone }
}

/** IPv4 apart from the library: a dump of 100,000 entries makes 400,000 of these. */
const addressText = (bytes: Buffer, start: number, end: number): Ip =>
  end - start === 4
    ? (`${bytes[start]}.${bytes[start + 1]}.${bytes[start + 2]}.${bytes[start + 3]}` as Ip)
    : bytesToIp(bytes.subarray(start, end))

/** Adds CTA_COUNTERS_PACKETS (1) and _BYTES (2) of one direction, 64 bits each; exact up to 2^53. */
function addCounters(
  sum: ConntrackEntry['counters'],
  bytes: Buffer,
  from: number,
  to: number,
): NonNullable<ConntrackEntry['counters']> {
  const total = sum ?? { packets: 0, bytes: 0 }
  eachAttribute(bytes, from, to, (type, start) => {
    const value = bytes.readUInt32BE(start) * 2 ** 32 + bytes.readUInt32BE(start + 4)
    if (type === 1) total.packets += value
    else if (type === 2) total.bytes += value
  })
  return total
}
