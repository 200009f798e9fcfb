/**
 * The process that answers for a web service on the host that it has left: 308, with the same path elsewhere. It
 * reads strangers' bytes, so it is nobody before it listens, and everything that a client can use up is bounded.
 */
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Redirect } from '../../proto/model/host-spec.js'
import { locationOf } from './location.js'

/** nobody and nogroup: the same number on all distributions that are supported. */
const nobody = 65534

/**
 * Connections at once, further ones are closed; of each, the bytes of a request's head, the time for the head and for
 * the whole request, the time between two of them, and how many.
 */
const limits = {
  ...{ connections: 1000, headerBytes: 16 * 1024, headersMs: 10_000, requestMs: 15_000 },
  ...{ idleMs: 5_000, requests: 100, checkMs: 2_000 },
}
/** For answers that are under way when it is told to end. */
const endMs = 2_000

/**
 * The verb `redirect`.
 * @param argv the path of a Redirect as JSON
 * @returns exit code: 0 when it was told to end
 */
export async function redirect([path]: readonly string[]): Promise<number> {
  const { port, to } = JSON.parse(await readFile(path ?? '', 'utf8')) as Redirect
  if (process.getuid?.() === 0) becomeNobody()
  const server = responder(to)
  await listen(server, port)
  await new Promise<void>((resolve) => process.once('SIGTERM', () => resolve()))
  await new Promise<void>((resolve) => {
    server.close(() => resolve())
    server.closeIdleConnections()
    setTimeout(() => server.closeAllConnections(), endMs).unref()
  })
  return 0
}

/** Without root's number all capabilities are gone, too: capabilities(7). */
function becomeNobody(): void {
  process.setgroups!([])
  process.setgid!(nobody)
  process.setuid!(nobody)
}

export function responder(to: string): Server {
  const server = createServer(
    {
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      keepAliveTimeout: limits.idleMs,
      connectionsCheckingInterval: limits.checkMs,
    },
    (request, response) => answer(request, response, to),
  )
  server.maxConnections = limits.connections
  server.maxRequestsPerSocket = limits.requests
  // Its body is for the other place: nobody asks for it here.
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    response.setHeader('Connection', 'close')
    answer(request, response, to)
  })
  return server
}

function answer(request: IncomingMessage, response: ServerResponse, to: string): void {
  // Left unread it would end the connection with a reset, and the answer with it.
  request.resume()
  const location = locationOf(to, request.url ?? '/')
  const body = `Moved to ${location}\n`
  response.writeHead(308, {
    Location: location,
    // A 308 is remembered for good (RFC 9110, 15.4.9), and the move may be taken back.
    'Cache-Control': 'no-store',
    'Content-Type': 'text/plain',
    'Content-Length': Buffer.byteLength(body),
  })
  response.end(body)
}

/** By both families with one socket; IPv4 alone where the kernel has no IPv6. */
async function listen(server: Server, port: number): Promise<void> {
  const on = (host: string): Promise<void> =>
    new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port, backlog: 1024 }, () => {
        server.removeListener('error', reject)
        resolve()
      })
    })
  try {
    await on('::')
  } catch (error) {
    if (!['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    await on('0.0.0.0')
  }
}
