import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { type Family, familyOf, type Ip } from '../proto/model/address.js'
import { FleetmoveError } from '../proto/model/error.js'
import { routeMtu } from './kernel/route-get.js'

/**
 * Measures the way between two hosts before the tunnel is up, with datagrams on the tunnel's own UDP
 * port: what they prove about firewalls and sizes holds for the tunnel. Each datagram is the token,
 * a kind, a number that tells the tries apart, and filling up to the size that is tried.
 */

export interface PathMeasurement {
  reached: boolean
  /** Of the whole IP packet, in bytes, for both directions; 0 where the peer wasn't reached. */
  mtu: number
  /** The sizes tried and how they ended. */
  detail: string
}

const question = 1
const answer = 2
/** Says, instead of an answer, how large one could be. */
const limitedAnswer = 3

/** IP header without options and UDP header. */
const headers = (family: Family): number => (family === 6 ? 48 : 28)
/** What every path must carry (RFC 8200, 5; RFC 791 for the receiving host): where the search begins. */
const leastMtu = (family: Family): number => (family === 6 ? 1280 : 576)

/**
 * Answers a peer's `measurePath` on both families until `signal` aborts, then resolves. Only
 * datagrams that bear the token are answered, each with one of the same size, so that nobody can use
 * this to multiply traffic. An answer that this host would have to fragment isn't sent: it would
 * prove nothing.
 * @throws FleetmoveError 'conflict' where another process has the port
 */
export const reflect = async (options: {
  port: number
  token: Uint8Array
  signal: AbortSignal
  onReady: () => void
  /** @param bytes of the datagram's payload */
  onDatagram: (from: string, bytes: number) => void
}): Promise<void> => {
  const { port, token, signal, onReady, onDatagram } = options
  if (signal.aborted) return
  const sockets: Socket[] = []
  try {
    sockets.push(await bound(4, port))
    const six = await bound(6, port).catch((error: unknown) => {
      if (withoutIpv6(error)) return null
      throw error
    })
    if (six !== null) sockets.push(six)
    for (const socket of sockets)
      socket.on('message', (message, from) => {
        if (message.length < headerOf(token) || kindOf(message, token) !== question) return
        void reply(socket, message, from, token).then(
          () => onDatagram(from.address, message.length),
          // The peer sees that nothing came back; a failing answer must not end the reflector.
          () => undefined,
        )
      })
    onReady()
    if (!signal.aborted) await once(signal, 'abort')
  } finally {
    for (const socket of sockets) socket.close()
  }
}

const reply = async (socket: Socket, message: Buffer, from: RemoteInfo, token: Uint8Array): Promise<void> => {
  const limit = await largestWhole(from.address as Ip)
  const fits = message.length + headers(from.family === 'IPv6' ? 6 : 4) <= limit
  const back = fits ? message : Buffer.from(message.subarray(0, headerOf(token)))
  back[token.length] = fits ? answer : limitedAnswer
  if (!fits) back.writeUInt16BE(Math.min(limit, 0xffff), token.length + 5)
  await send(socket, back, from.port, from.address)
}

/** The largest packet that this host's kernel sends unfragmented, as far as it knows the path. */
const largestWhole = async (ip: Ip): Promise<number> => {
  const { mtu, deviceMtu } = await routeMtu(ip)
  return Math.min(deviceMtu, mtu ?? deviceMtu)
}

/** Token, kind (1 byte), number of the try (4), limit (2). */
const headerOf = (token: Uint8Array): number => token.length + 7

/** null: not one of ours. */
const kindOf = (message: Buffer, token: Uint8Array): number | null =>
  message.length >= headerOf(token) && message.subarray(0, token.length).equals(token) ? message[token.length]! : null

type Echo = { came: true } | { came: false; limit: number | null }

/**
 * The largest IP packet that gets to the peer's reflector and back. Linux sets DF on datagrams that
 * fit the path MTU it knows, and fragments larger ones itself (IP_PMTUDISC_WANT, ip(7)), so a size is
 * tried only while the kernel doesn't know that it is too large, and an answer counts only then.
 * @param timeoutMs for the whole measurement; when it runs out the largest size that passed is given
 * @throws FleetmoveError 'conflict' where another process has the port
 */
export const measurePath = async (options: {
  remote: Ip
  port: number
  token: Uint8Array
  timeoutMs: number
}): Promise<PathMeasurement> => {
  const { remote, port, token, timeoutMs } = options
  const family = familyOf(remote)
  const deadline = performance.now() + timeoutMs
  const socket = await bound(family, port)
  try {
    const asker = new Asker(socket, remote, port, token, deadline)
    const floor = leastMtu(family)
    // One try after the other as long as there is time: the peer's host may be slow to open its firewall.
    if (!(await asker.ask(floor, Number.POSITIVE_INFINITY, 250)).came)
      return { reached: false, mtu: 0, detail: asker.detail() }
    // Timed on a second one, since the first may have waited for a neighbour's answer.
    const begin = performance.now()
    await asker.ask(floor, 3, 500)
    const patience = Math.min(1000, Math.max(60, 3 * (performance.now() - begin)))
    const mtu = await largest(asker, floor, patience)
    return { reached: true, mtu, detail: asker.detail() }
  } finally {
    socket.close()
  }
}

const largest = async (asker: Asker, floor: number, patience: number): Promise<number> => {
  let passes = floor
  let fails = (await largestWhole(asker.remote)) + 1
  // Where a size is likely to be just right it is tried before halving: the device's own, one that
  // was learnt, and Ethernet's on devices with larger frames.
  let likely = [1500, fails - 1]
  while (passes + 1 < fails && !asker.outOfTime()) {
    const guess = likely.pop()
    const size = guess ?? Math.floor((passes + fails) / 2)
    if (size <= passes || size >= fails) continue
    const echo = await asker.ask(size, 3, patience)
    if (echo.came) {
      passes = size
      if (guess !== undefined) likely.push(size + 1) // Above a likely size mostly nothing passes: one try ends the search.
      continue
    }
    fails = size
    const learnt = Math.min(await largestWhole(asker.remote), echo.limit ?? Number.POSITIVE_INFINITY)
    if (learnt + 1 < fails) {
      fails = Math.max(learnt, passes) + 1
      likely = [...likely, fails - 1]
    }
  }
  return passes
}

/** Sends one size at a time and waits for its answer. */
class Asker {
  private readonly story: string[] = []
  private number = 0
  private heard: (echo: Echo) => void = () => undefined
  private trouble = ''

  constructor(
    private readonly socket: Socket,
    readonly remote: Ip,
    private readonly port: number,
    private readonly token: Uint8Array,
    private readonly deadline: number,
  ) {
    socket.on('message', (message) => {
      const kind = kindOf(message, token)
      if (kind === null || kind === question || message.readUInt32BE(token.length + 1) !== this.number) return
      this.heard(kind === answer ? { came: true } : { came: false, limit: message.readUInt16BE(token.length + 5) })
    })
  }

  outOfTime = (): boolean => performance.now() >= this.deadline

  detail = (): string => this.story.join('; ')

  /** @param size of the IP packet */
  async ask(size: number, tries: number, patience: number): Promise<Echo> {
    this.number += 1
    const payload = Buffer.alloc(size - headers(familyOf(this.remote)))
    payload.set(this.token)
    payload[this.token.length] = question
    payload.writeUInt32BE(this.number, this.token.length + 1)
    for (let tried = 1; tried <= tries; tried += 1) {
      const echo = await this.once(payload, patience)
      const limit = await largestWhole(this.remote)
      if (limit < size) {
        this.story.push(`${size} is too large: a router on the way said that ${limit} fits`)
        return { came: false, limit }
      }
      if (echo?.came === true) {
        this.story.push(`${size} came back`)
        return echo
      }
      if (echo !== null) {
        this.story.push(`${size} arrived, but the peer can answer with ${echo.limit} only`)
        return echo
      }
      if (this.outOfTime()) tries = tried
    }
    this.story.push(`${size} did not come back${this.trouble === '' ? '' : ` (${this.trouble})`}`)
    return { came: false, limit: null }
  }

  /** null: nothing heard in time. */
  private async once(payload: Buffer, patience: number): Promise<Echo | null> {
    const heard = new Promise<Echo | null>((resolve) => {
      const timer = setTimeout(() => resolve(null), Math.max(1, Math.min(patience, this.deadline - performance.now())))
      this.heard = (echo) => {
        clearTimeout(timer)
        resolve(echo)
      }
    })
    this.trouble = await send(this.socket, payload, this.port, this.remote).then(
      () => '',
      (error: Error) => error.message,
    )
    return heard
  }
}

const send = (socket: Socket, message: Buffer, port: number, address: string): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.send(message, port, address, (error) => (error === null ? resolve() : reject(error)))
  })

/** A socket on the tunnel's port, on all addresses of one family. */
const bound = async (family: Family, port: number): Promise<Socket> => {
  const socket = createSocket(family === 6 ? { type: 'udp6', ipv6Only: true } : { type: 'udp4' })
  try {
    socket.bind(port)
    await once(socket, 'listening')
    // Late errors (an ICMP refusal) belong to single datagrams: those are simply not answered.
    socket.on('error', () => undefined)
    return socket
  } catch (cause) {
    socket.close()
    if (withoutIpv6(cause)) throw cause
    throw new FleetmoveError('conflict', {
      message: `UDP port ${port} can't be opened for measuring the path: ${
        hasCode(cause, 'EADDRINUSE') ? 'another process has it' : String(cause)
      }`,
      hint: `See who has it with: ss -ulpn 'sport = :${port}'. Stop that, or give 'tunnel.port' in fleet.yaml another number.`,
      cause,
    })
  }
}

const withoutIpv6 = (error: unknown): boolean => hasCode(error, 'EAFNOSUPPORT') || hasCode(error, 'EADDRNOTAVAIL')
const hasCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException | null)?.code === code
