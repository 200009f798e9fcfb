/**
 * What two agents say to each other about a gap whose controller is lost: one question and one answer a connection,
 * by the target's tunnel address, each with proof that it comes from whoever was given the move's secret. Without the
 * proof any user of the target host could take the port while the agent is down, and answer in its place.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { connect, createServer, type Socket } from 'node:net'
import { FleetmoveError } from '../../proto/model/error.js'
import type { TunnelSpec } from '../../proto/model/host-spec.js'
import type { Gap } from './gap-state.js'

/**
 * hello: the origin counts on answers from now on. whose: yield, unless it was started. back, gone: how it has
 * ended for the origin.
 */
export type GapQuestion = 'hello' | 'whose' | 'back' | 'gone'
export type GapAnswer = 'ok' | 'started' | 'yielded' | 'refused'
const questions: readonly string[] = ['hello', 'whose', 'back', 'gone'] satisfies GapQuestion[]
const answers: readonly string[] = ['ok', 'started', 'yielded', 'refused'] satisfies GapAnswer[]

export interface GapEnds {
  /** The target's tunnel address, and the origin's: nobody else is heard. */
  address: string
  peer: string
  port: number
  /** Base64. */
  secret: string
  id: string
}

export function endsOf({ id, plan }: Gap, { local4, peer4 }: TunnelSpec): GapEnds {
  const [address, peer] = plan.role === 'target' ? [local4, peer4] : [peer4, local4]
  return { id, address, peer, port: plan.port, secret: plan.secret }
}

const lineLength = 512
const talkMs = 5000
const mostConnections = 8

const prove = ({ secret, id }: GapEnds, ...words: string[]): Buffer =>
  createHmac('sha256', Buffer.from(secret, 'base64'))
    .update([id, ...words].join(' '))
    .digest()

const proves = (proof: string | undefined, wanted: Buffer): boolean => {
  const given = Buffer.from(proof ?? '', 'hex')
  return given.length === wanted.length && timingSafeEqual(given, wanted)
}

/** The first line that comes; '' where none does. */
const readLine = (socket: Socket): Promise<string> =>
  new Promise((resolve) => {
    let text = ''
    const end = (line: string): void => {
      socket.removeAllListeners('data')
      resolve(line)
    }
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      const at = text.indexOf('\n')
      if (at >= 0) end(text.slice(0, at))
      else if (text.length > lineLength) end('')
    })
    for (const over of ['end', 'close', 'error', 'timeout']) socket.on(over, () => end(''))
  })

export interface Listening {
  port: number
  close(): void
}

/**
 * Answers the origin until it is closed.
 * @param ends `port` 0: any that is free
 * @throws FleetmoveError 'tunnel' where the address or the port can't be had.
 */
export function answerOrigin(ends: GapEnds, answer: (question: GapQuestion) => Promise<GapAnswer>): Promise<Listening> {
  const serve = async (socket: Socket): Promise<void> => {
    const nonce = randomBytes(16).toString('hex')
    socket.write(`${nonce}\n`)
    const [question = '', theirs = '', proof] = (await readLine(socket)).split(' ')
    if (!questions.includes(question) || !proves(proof, prove(ends, nonce, theirs, question))) return
    const said = await answer(question as GapQuestion)
    socket.end(`${said} ${prove(ends, theirs, nonce, said).toString('hex')}\n`)
  }
  const server = createServer((socket) => {
    socket.setTimeout(talkMs, () => socket.destroy())
    socket.on('error', () => {})
    if (socket.remoteAddress !== ends.peer) return void socket.destroy()
    serve(socket).then(
      () => socket.end(),
      () => socket.destroy(),
    )
  })
  server.maxConnections = mostConnections
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new FleetmoveError('tunnel', {
          message: `can't listen on the tunnel's address ${ends.address}: ${cause.message}`,
          hint: 'run `fleetmove up`: it puts the tunnel back',
          cause,
        }),
      ),
    )
    server.listen(ends.port, ends.address, () => {
      const bound = server.address()
      const port = typeof bound === 'object' && bound ? bound.port : ends.port
      server.on('error', () => {})
      resolve({ port, close: () => void server.close() })
    })
  })
}

/** @returns null where no answer comes that proves its origin. */
export async function askTarget(ends: GapEnds, question: GapQuestion): Promise<GapAnswer | null> {
  // From the tunnel's own address, which the rules leave alone.
  const socket = connect({ host: ends.address, port: ends.port, localAddress: ends.peer })
  socket.setTimeout(talkMs, () => socket.destroy())
  socket.on('error', () => {})
  try {
    const nonce = await readLine(socket)
    if (nonce === '') return null
    const own = randomBytes(16).toString('hex')
    socket.write(`${question} ${own} ${prove(ends, nonce, own, question).toString('hex')}\n`)
    const [said = '', proof] = (await readLine(socket)).split(' ')
    if (!answers.includes(said) || !proves(proof, prove(ends, own, nonce, said))) return null
    return said as GapAnswer
  } finally {
    socket.destroy()
  }
}

/** A tunnel may lose a packet, and a busy host take its time. */
const helloTries = 3

/**
 * The origin's first question.
 * @throws FleetmoveError 'tunnel' where the target's agent doesn't answer
 */
export async function meetTarget(gap: Gap, tunnel: TunnelSpec): Promise<void> {
  for (let tries = 0; tries < helloTries; tries++) if ((await askTarget(endsOf(gap, tunnel), 'hello')) === 'ok') return
  throw new FleetmoveError('tunnel', {
    message: `the agent of ${tunnel.peer} doesn't answer by the tunnel, so the two could not agree on where ${gap.service} runs if contact were lost`,
    hint: 'let the hosts reach each other by TCP on their tunnel addresses, then run the command again',
  })
}
