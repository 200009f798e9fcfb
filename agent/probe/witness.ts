/**
 * Listens on the probe ports of this host and reports each probe that arrives: proof of what reaches
 * the origin, and from which source address. Strangers without a token get nothing.
 */
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram'
import { createServer, type Server, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import type { Protocol } from '../../proto/model/host-spec.js'
import type { Receipt } from '../../proto/model/probe.js'
import { parseIp } from '../../proto/parse.js'
import {
  answerHeaderLength,
  decodeRequestHeader,
  encodeCount,
  encodeGreeting,
  type RequestHeader,
  requestHeaderLength,
  tokenLength,
} from '../../proto/probe-wire.js'

export interface WitnessOptions {
  ports: readonly number[]
  /** 16 bytes each; probes with others are ignored. */
  tokens: readonly Uint8Array[]
  /** Called once a TCP connection (when its request is whole, or it ended), and once a datagram. */
  onReceipt(receipt: Receipt): void
  /** Its abort closes everything. */
  signal: AbortSignal
}

/** A connection that has not sent its request by then is closed, in ms: scanners keep them open for ever. */
const longestRequest = 10_000
/** Of one port at once; further ones are refused. */
const mostConnections = 256

/** A port of this host while anybody wants to know what arrives there. */
interface OpenPort {
  /** By `tcp`, or the address of a UDP socket. */
  listeners: Map<string, { close(): void }>
  calls: Set<Call>
}

interface Call {
  ports: readonly number[]
  /** Hexadecimal. */
  known: ReadonlySet<string>
  onReceipt(receipt: Receipt): void
}

const hex = (token: Uint8Array): string => Buffer.from(token).toString('hex')

/**
 * All that is witnessed on this host. A port is opened for the first who asks, serves all, and closes after the last:
 * who probes at the same time, or has died without a word, is in nobody's way.
 */
export class Witnesses {
  private readonly ports = new Map<number, OpenPort>()
  private tail: Promise<unknown> = Promise.resolve()

  /**
   * Opens every port over TCP and UDP, IPv4 and IPv6; resolves once all of them listen. IPv4 clients are
   * reported as IPv4. UDP is bound to each local address by itself: Node can't tell a datagram's
   * destination (IP_PKTINFO), and so the answer leaves with the address that was asked.
   * @throws FleetmoveError 'conflict' where another program has a port; nothing is left open for this call then.
   */
  async open({ ports, tokens, onReceipt, signal }: WitnessOptions): Promise<{ close(): void }> {
    const call: Call = { ports, known: new Set(tokens.map(hex)), onReceipt }
    const close = (): void => {
      signal.removeEventListener('abort', close)
      this.leave(call)
    }
    // One after the other: two that begin at once would both open the port.
    const joined = this.tail.then(() => this.join(call))
    this.tail = joined.catch(() => {})
    try {
      await joined
      signal.throwIfAborted()
    } catch (error) {
      close()
      throw error
    }
    signal.addEventListener('abort', close, { once: true })
    return { close }
  }

  private async join(call: Call): Promise<void> {
    const addresses = localAddresses()
    for (const port of call.ports) {
      const open = this.ports.get(port) ?? { listeners: new Map(), calls: new Set() }
      this.ports.set(port, open)
      open.calls.add(call)
      const callOf = (token: Uint8Array): Call | undefined => [...open.calls].find(({ known }) => known.has(hex(token)))
      const isKnown = (token: Buffer): boolean => callOf(token) !== undefined
      const onReceipt = (receipt: Receipt): void => callOf(receipt.token)?.onReceipt(receipt)
      if (!open.listeners.has('tcp')) open.listeners.set('tcp', await listenTcp(port, isKnown, onReceipt))
      for (const address of addresses.filter((each) => !open.listeners.has(each))) {
        const listener = await listenUdp(port, address, isKnown, onReceipt)
        if (listener) open.listeners.set(address, listener)
      }
    }
  }

  private leave(call: Call): void {
    for (const [port, { listeners, calls }] of this.ports) {
      if (!calls.delete(call) || calls.size > 0) continue
      this.ports.delete(port)
      for (const listener of listeners.values()) listener.close()
    }
  }
}

/** IPv6 link-local ones need a zone and are nobody's public address. */
function localAddresses(): Ip[] {
  return Object.values(networkInterfaces())
    .flat()
    .flatMap((each) => {
      const parsed = parseIp(each?.address ?? '')
      return parsed.ok && !parsed.value.startsWith('fe80:') ? [parsed.value] : []
    })
}

async function listenTcp(
  port: number,
  isKnown: (token: Buffer) => boolean,
  onReceipt: (receipt: Receipt) => void,
): Promise<{ close(): void }> {
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    serveConnection(socket, isKnown, onReceipt)
  })
  server.maxConnections = mostConnections
  try {
    await bindTcp(server, '::', port)
  } catch (error) {
    // A host with IPv6 switched off.
    if (
      (error as NodeJS.ErrnoException).code !== 'EAFNOSUPPORT' &&
      (error as NodeJS.ErrnoException).code !== 'EADDRNOTAVAIL'
    )
      throw taken(error, 'tcp', port, '')
    await bindTcp(server, '0.0.0.0', port).catch((again) => {
      throw taken(again, 'tcp', port, '')
    })
  }
  return {
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

const bindTcp = (server: Server, host: string, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve()
    })
  })

function serveConnection(
  socket: Socket,
  isKnown: (token: Buffer) => boolean,
  onReceipt: (receipt: Receipt) => void,
): void {
  const ends = endsOf(socket)
  if (!ends) {
    socket.destroy()
    return
  }
  const { source, sourcePort, destination, destinationPort } = ends
  const timer = setTimeout(() => socket.destroy(), longestRequest)
  let head: Buffer = Buffer.alloc(0)
  let received = 0
  let request: RequestHeader | undefined
  let reported = false
  const report = (): void => {
    if (!request || reported) return
    reported = true
    const token = Uint8Array.from(request.token)
    onReceipt({
      token,
      protocol: 'tcp',
      source,
      sourcePort,
      destination,
      destinationPort,
      bytes: received,
      timeMs: Date.now(),
    })
  }
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length
    if (!request) {
      head = Buffer.concat([head, chunk])
      // The token is checked as soon as it is whole: who has none learns nothing, not even a length.
      if (head.length >= tokenLength && !isKnown(head.subarray(0, tokenLength))) return void socket.destroy()
      if (head.length < requestHeaderLength) return
      request = decodeRequestHeader(head)
      if (!request) return void socket.destroy()
      socket.write(encodeGreeting(request.token, { source, sourcePort }))
    }
    if (reported || received < request.total) return
    report()
    // In a packet of its own, ahead of what may be too large for the path.
    socket.write(encodeCount(received))
    socket.write(Buffer.alloc(request.wanted - answerHeaderLength))
    socket.end()
  })
  // Broken connections end in 'close' too.
  socket.on('error', () => {})
  socket.on('close', () => {
    clearTimeout(timer)
    report()
  })
}

function endsOf(
  socket: Socket,
): Pick<Receipt, 'source' | 'sourcePort' | 'destination' | 'destinationPort'> | undefined {
  // Link-local peers come with a zone.
  const source = parseIp((socket.remoteAddress ?? '').split('%')[0] ?? '')
  const destination = parseIp((socket.localAddress ?? '').split('%')[0] ?? '')
  if (!source.ok || !destination.ok) return undefined
  return {
    source: source.value,
    sourcePort: socket.remotePort ?? 0,
    destination: destination.value,
    destinationPort: socket.localPort ?? 0,
  }
}

async function listenUdp(
  port: number,
  destination: Ip,
  isKnown: (token: Buffer) => boolean,
  onReceipt: (receipt: Receipt) => void,
): Promise<{ close(): void } | undefined> {
  const socket = destination.includes(':')
    ? createSocket({ type: 'udp6', ipv6Only: true })
    : createSocket({ type: 'udp4' })
  try {
    await bindUdp(socket, destination, port)
  } catch (error) {
    socket.close()
    // The address went away meanwhile, or IPv6 hasn't finished looking for duplicates of it.
    if ((error as NodeJS.ErrnoException).code === 'EADDRNOTAVAIL') return undefined
    throw taken(error, 'udp', port, destination)
  }
  socket.on('message', (bytes, from) => {
    const receipt = receiptOf(bytes, from, destination, port, isKnown)
    if (!receipt) return
    onReceipt(receipt.receipt)
    // Never more than came: the source address may be forged.
    const size = Math.min(receipt.wanted, bytes.length)
    const answer = Buffer.alloc(size)
    encodeGreeting(receipt.receipt.token, receipt.receipt).copy(answer)
    encodeCount(bytes.length).copy(answer, answerHeaderLength - 4)
    // What ICMP says of an answer is no concern of ours: the prober sees that none came.
    socket.send(answer, from.port, from.address, () => {})
  })
  socket.on('error', () => {})
  return socket
}

function receiptOf(
  bytes: Buffer,
  from: RemoteInfo,
  destination: Ip,
  destinationPort: number,
  isKnown: (token: Buffer) => boolean,
): { receipt: Receipt; wanted: number } | undefined {
  const request = decodeRequestHeader(bytes)
  const source = parseIp(from.address.split('%')[0] ?? '')
  if (!request || bytes.length < answerHeaderLength || !isKnown(request.token) || !source.ok) return undefined
  return {
    wanted: request.wanted,
    receipt: {
      token: Uint8Array.from(request.token),
      protocol: 'udp',
      source: source.value,
      sourcePort: from.port,
      destination,
      destinationPort,
      bytes: bytes.length,
      timeMs: Date.now(),
    },
  }
}

const bindUdp = (socket: UdpSocket, address: Ip, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.bind({ address, port }, () => {
      socket.off('error', reject)
      resolve()
    })
  })

function taken(error: unknown, protocol: Protocol, port: number, address: Ip | ''): unknown {
  if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') return error
  return new FleetmoveError('conflict', {
    message: `the probe port ${protocol}/${port} is taken${address === '' ? '' : ` at ${address}`}: another program listens there`,
    hint: `see who it is with \`ss -lnp sport = :${port}\`, and end it or move the tunnel's port, which the probe port follows`,
    cause: error,
  })
}
