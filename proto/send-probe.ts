/**
 * Sends one probe, from a host (its agent) or from the controller's machine: the same code, so that
 * their results mean the same.
 */
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import { familyOf, hostPort, type Ip } from './model/address.js'
import type { ProbeOutcome, ProbeResult, ProbeSpec } from './model/probe.js'
import { parseIp } from './parse.js'
import {
  answerHeaderLength,
  decodeGreeting,
  encodeRequest,
  greetingLength,
  probeSize,
  type Seen,
  smallestProbe,
} from './probe-wire.js'

export interface Connected {
  source: Ip | ''
  sourcePort: number
  connectMs: number
}

export interface RunningProbe {
  /** When the source port is known: the connection stands, or the datagram is sent. Null where that never came. */
  connected: Promise<Connected | null>
  /** Never rejects. */
  result: Promise<ProbeResult>
  /** Ends a held connection; a probe that still waits ends as `closed`. */
  close(): void
}

/**
 * Of UDP, a lost datagram says little, and the first large one over IPv6 may only have taught this
 * machine the path MTU (RFC 8201): the large one is sent this often, then once a small one, which tells a
 * path that carries nothing from one that drops what is large.
 */
const udpTries = 4

/** Above this a payload needs more than the smallest packet that IPv6 guarantees (RFC 8200, 5: 1,280 bytes). */
const surelyPasses = 1200

/** Starts the probe; `result` comes within `timeoutMs` (with `connectOnly`: plus `holdMs`). */
export function startProbe(spec: ProbeSpec): RunningProbe {
  return spec.protocol === 'tcp' ? startTcp(spec) : startUdp(spec)
}

/** A whole probe; an abort ends it as `closed`. */
export async function sendProbe(spec: ProbeSpec, signal?: AbortSignal): Promise<ProbeResult> {
  const probe = startProbe(spec)
  const abort = (): void => probe.close()
  if (signal?.aborted) abort()
  signal?.addEventListener('abort', abort, { once: true })
  try {
    return await probe.result
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

interface Settler {
  probe: RunningProbe
  reached(connected: Connected): void
  finish(outcome: ProbeOutcome, detail: string, bytes?: number): void
}

/** The bookkeeping that both protocols share: `clean` runs once, when the result stands. */
function settler(clean: () => void, close: () => void): Settler {
  let here: Connected | null = null
  let over = false
  let resolveConnected: (value: Connected | null) => void
  let resolveResult: (value: ProbeResult) => void
  const connected = new Promise<Connected | null>((resolve) => {
    resolveConnected = resolve
  })
  const result = new Promise<ProbeResult>((resolve) => {
    resolveResult = resolve
  })
  return {
    probe: { connected, result, close },
    reached(value) {
      here = value
      resolveConnected(value)
    },
    finish(outcome, detail, bytes = 0) {
      if (over) return
      over = true
      clean()
      resolveConnected(here)
      const { source, sourcePort, connectMs } = here ?? { source: '' as const, sourcePort: 0, connectMs: 0 }
      resolveResult({ outcome, source, sourcePort, bytes, connectMs, detail })
    },
  }
}

function startTcp(spec: ProbeSpec): RunningProbe {
  const target = hostPort(spec.address, spec.port)
  const size = probeSize(spec.bytes)
  const began = performance.now()
  const socket = connect({ host: spec.address, port: spec.port, noDelay: true })
  let standing = false
  let seen: Seen | undefined
  let answer: Buffer = Buffer.alloc(0)
  let timer = setTimeout(timedOut, spec.timeoutMs)
  const { probe, reached, finish } = settler(
    () => {
      clearTimeout(timer)
      socket.destroy()
    },
    () => {
      if (standing && spec.connectOnly) finish('answered', `the connection to ${target} stood until it was closed here`)
      else finish('closed', `the probe of ${target} was given up`)
    },
  )

  function timedOut(): void {
    const within = `within ${spec.timeoutMs} ms`
    if (!standing) {
      finish('timeout', `no connection to ${target} ${within}`)
      return
    }
    if (answer.length === 0) {
      finish('timeout', `connected to ${target}, but no answer came ${within}`)
      return
    }
    const stalled =
      answer.length < answerHeaderLength
        ? `the greeting came back, the ${size} bytes sent did not arrive whole`
        : `the ${size} bytes sent arrived, of the ${size} bytes answered ${answer.length} came`
    const outcome = size > surelyPasses ? 'truncated' : 'timeout'
    finish(outcome, `connected to ${target}; ${stalled} ${within}`, answer.length)
  }

  socket.on('connect', () => {
    standing = true
    const source = parseIp(socket.localAddress ?? '')
    reached({
      source: source.ok ? source.value : '',
      sourcePort: socket.localPort ?? 0,
      connectMs: performance.now() - began,
    })
    if (spec.connectOnly) {
      clearTimeout(timer)
      timer = setTimeout(() => probe.close(), spec.holdMs)
      // What the listener says (a greeting, say) must be read, or its end is never seen.
      socket.resume()
      return
    }
    const request = encodeRequest(spec.token, size)
    // The smallest part in a packet of its own: it passes where the rest may not.
    socket.write(request.subarray(0, smallestProbe))
    if (size > smallestProbe) socket.write(request.subarray(smallestProbe))
  })
  socket.on('data', (chunk: Buffer) => {
    if (spec.connectOnly) return
    answer = Buffer.concat([answer, chunk])
    if (!seen && answer.length >= greetingLength) {
      seen = decodeGreeting(answer, spec.token)
      if (!seen) return finish('error', `something else than fleetmove's agent answers at ${target}`, answer.length)
    }
    if (seen && answer.length >= size) finish('answered', seenText(seen), answer.length)
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    if (standing) finish('closed', `${target} broke the connection (${error.code ?? error.message})`, answer.length)
    else finish(isRefusal(error) ? 'refused' : failure(error), `${target}: ${explain(error)}`)
  })
  socket.on('close', () =>
    finish('closed', `${target} closed the connection after ${answer.length} bytes`, answer.length),
  )
  return probe
}

function startUdp(spec: ProbeSpec): RunningProbe {
  const target = hostPort(spec.address, spec.port)
  const size = probeSize(spec.bytes)
  const family = familyOf(spec.address)
  const socket = createSocket(family === 4 ? 'udp4' : 'udp6')
  const large = size > surelyPasses
  const slots = large ? udpTries + 1 : udpTries
  let began = performance.now()
  let sent = 0
  let refusals = 0
  let next: NodeJS.Timeout | undefined
  let here: Omit<Connected, 'connectMs'> = { source: '', sourcePort: 0 }
  const deadline = setTimeout(timedOut, spec.connectOnly ? spec.holdMs : spec.timeoutMs)
  const { probe, reached, finish } = settler(
    () => {
      clearTimeout(deadline)
      clearTimeout(next)
      socket.close()
    },
    () => finish('closed', `the probe of ${target} was given up`),
  )

  function timedOut(): void {
    if (spec.connectOnly) finish('timeout', `one empty datagram went to ${target}; nothing came back, as is usual`)
    else finish('timeout', `${sent} datagrams went to ${target}, no answer came within ${spec.timeoutMs} ms`)
  }

  function send(): void {
    sent += 1
    const last = large && sent === slots
    const payload = spec.connectOnly ? Buffer.alloc(0) : encodeRequest(spec.token, last ? smallestProbe : size)
    // The socket is connected, so what ICMP said of the datagram before comes as this one's error.
    socket.send(payload, (error) => {
      if (error) failed(error as NodeJS.ErrnoException)
    })
    if (spec.connectOnly || sent === slots) return
    next = setTimeout(send, spec.timeoutMs / (slots + 1))
  }

  function failed(error: NodeJS.ErrnoException): void {
    // Too large for what is known of the path since the try before: the next one goes in fragments.
    if (error.code === 'EMSGSIZE') return
    // One refusal may have met the moment before the listener stood.
    refusals += isRefusal(error) ? 1 : 0
    if (isRefusal(error) && refusals === 1 && !spec.connectOnly) return
    finish(isRefusal(error) ? 'refused' : failure(error), `${target}: ${explain(error)}`)
  }

  socket.on('error', failed)
  socket.on('message', (answer) => {
    const took = performance.now() - began
    if (spec.connectOnly) {
      reached({ ...here, connectMs: took })
      return finish('answered', `${target} answered an empty datagram`, answer.length)
    }
    const seen = decodeGreeting(answer, spec.token)
    if (!seen) return
    reached({ ...here, connectMs: took })
    if (answer.length < size) {
      const why = `a datagram of ${smallestProbe} bytes was answered by ${target}, ${udpTries} of ${size} bytes were not`
      return finish('truncated', why, answer.length)
    }
    finish('answered', seenText(seen), answer.length)
  })
  socket.on('connect', () => {
    const { address, port } = socket.address()
    const source = parseIp(address)
    here = { source: source.ok ? source.value : '', sourcePort: port }
    began = performance.now()
    reached({ ...here, connectMs: 0 })
    send()
  })
  socket.connect(spec.port, spec.address)
  return probe
}

const seenText = (seen: Seen): string => `the origin saw ${hostPort(seen.source, seen.sourcePort)}`

const isRefusal = (error: NodeJS.ErrnoException): boolean =>
  error.code === 'ECONNREFUSED' || error.code === 'ECONNRESET' || error.code === 'EHOSTUNREACH'

/** ETIMEDOUT: the kernel gave up on its SYNs before we did. */
const failure = (error: NodeJS.ErrnoException): ProbeOutcome => (error.code === 'ETIMEDOUT' ? 'timeout' : 'error')

const causes: Record<string, string> = {
  ECONNREFUSED: 'connection refused: nothing listens there, or a firewall rejects',
  ECONNRESET: 'reset before the connection stood',
  EHOSTUNREACH: 'a router or firewall says that the host is unreachable',
  ENETUNREACH: 'this machine has no route to that address',
  EADDRNOTAVAIL: 'this machine has no address of that family, or no free port',
  EACCES: 'a firewall of this machine forbids it',
  EPERM: 'a firewall of this machine forbids it',
  ETIMEDOUT: 'no answer to the connection attempts',
}
const explain = (error: NodeJS.ErrnoException): string => causes[error.code ?? ''] ?? error.message
