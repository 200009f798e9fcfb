/**
 * Bounded load that checks every answer: runs on a practice client, needs nothing but Node, and prints
 * one JSON report when it ends. The web server of the practice network answers with "HOST CLIENT PORT".
 *
 *   node load.mjs '{"targets": ["203.0.113.10", "2001:db8:a::10"], "perSecond": 100}'
 *
 * Prints the line `ready` once every target has answered a new connection and every long one stands.
 * Lines on standard input: `end-long` ends the long connections, which have survived then; `stop` ends
 * all and prints the report; end of file is `stop`. Without either it ends after `seconds`.
 */
import { connect } from 'node:net'
import { createInterface } from 'node:readline'

/**
 * @typedef {object} Options
 * @property {string[]} targets addresses, port 80
 * @property {number} perSecond new connections to each target: connect, one request, end
 * @property {number} [keepAlive] connections to each target with a request every 200 ms
 * @property {number} [downloads] connections to each target with a long download of numbered lines
 * @property {number} [seconds] at the most; 120 if left away
 * @property {number} [patience] how many times longer than usual an answer may take; 1 if left away
 */

/** @type {Required<Options>} */
const options = { keepAlive: 0, downloads: 0, seconds: 120, patience: 1, ...JSON.parse(process.argv[2] ?? '{}') }

/** A connection without an answer for this long has failed: five retransmits of a SYN. */
const patienceMs = 15_000 * options.patience
/** Beyond this many at once the target doesn't answer, and more would only exhaust ports. */
const mostAtOnce = 500
const keepAliveMs = 200
/** Bytes a second; 8 MiB of numbered lines last two minutes and more. */
const downloadRate = '32k'
/** A download is paced by the server: this long without a byte, and it is torn. */
const silenceMs = 15_000 * options.patience

let stopping = false
const targets = options.targets.map((address) => ({
  address,
  connections: 0,
  failed: 0,
  /** @type {Record<string, number>} */
  errors: {},
  wrongSource: 0,
  /** @type {string[]} the first few, to look at */
  wrong: [],
  /** @type {Record<string, number>} host → answers */
  answeredBy: {},
  /** @type {number[]} ms from the SYN to the established connection */
  waits: [],
  /** @type {string[]} connections that waited for a second and more: a packet was lost */
  slow: [],
  inFlight: 0,
  /** Not opened, because mostAtOnce were: as bad as a failure. */
  held: 0,
  long: 0,
  survived: 0,
  standing: 0,
  /** @type {string[]} */
  torn: [],
}))
/** @typedef {(typeof targets)[number]} Target */
/** @type {Set<() => void>} */
const longEnds = new Set()

const request = (path, connection) => `GET ${path} HTTP/1.1\r\nHost: practice\r\nConnection: ${connection}\r\n\r\n`

/** Takes one whole HTTP answer off the front of `text`; undefined while it isn't there. */
function takeAnswer(text) {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(text.slice(0, end))?.[1] ?? Number.NaN)
  const whole = end + 4 + length
  if (Number.isNaN(length) || text.length < whole) return undefined
  return { status: text.slice(9, 12), body: text.slice(end + 4, whole), rest: text.slice(whole) }
}

/** Counts who answered, and whether the server saw this very socket's address. @param {Target} target */
function judge(target, { status, body }, ownAddress) {
  const [host = '', seen = ''] = body.trim().split(' ')
  if (status !== '200') return `HTTP ${status}`
  target.answeredBy[host] = (target.answeredBy[host] ?? 0) + 1
  if (seen !== ownAddress) {
    target.wrongSource += 1
    if (target.wrong.length < 5) target.wrong.push(`${host} saw ${seen} in place of ${ownAddress}`)
  }
  return undefined
}

/** @param {Target} target */
function once(target) {
  target.inFlight += 1
  target.connections += 1
  const begun = performance.now()
  const socket = connect({ host: target.address, port: 80, noDelay: true })
  let own = ''
  let text = ''
  let over = false
  const end = (error) => {
    if (over) return
    over = true
    clearTimeout(timer)
    socket.destroy()
    target.inFlight -= 1
    if (error === undefined) return
    target.failed += 1
    target.errors[error] = (target.errors[error] ?? 0) + 1
  }
  const timer = setTimeout(() => end(own === '' ? 'no connection' : 'no answer'), patienceMs)
  socket.on('connect', () => {
    const wait = performance.now() - begun
    target.waits.push(wait)
    own = socket.localAddress ?? ''
    if (wait >= 900 && target.slow.length < 20)
      target.slow.push(`${Math.round(wait)} ms until ${new Date().toISOString()}, port ${socket.localPort}`)
    socket.write(request('/', 'close'))
  })
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  socket.on('error', (error) => end(/** @type {NodeJS.ErrnoException} */ (error).code ?? error.message))
  socket.on('end', () => {
    const answer = takeAnswer(text)
    end(answer ? judge(target, answer, own) : 'torn answer')
  })
}

/**
 * A connection that must stand until this process ends it.
 * @param {Target} target
 * @param {string} kind
 * @param {(socket: import('node:net').Socket) => { data: (text: string) => string | undefined, end?: () => void }} talk
 */
function long(target, kind, talk) {
  target.long += 1
  const begun = performance.now()
  const socket = connect({ host: target.address, port: 80, noDelay: true })
  let over = false
  let stands = false
  let silence = setTimeout(() => finish('silent'), silenceMs)
  /** @type {ReturnType<typeof talk> | undefined} */
  let talker
  const finish = (error) => {
    if (over) return
    over = true
    clearTimeout(silence)
    talker?.end?.()
    longEnds.delete(endIt)
    if (error === undefined && stands) target.survived += 1
    else target.torn.push(`${kind} after ${Math.round(performance.now() - begun)} ms: ${error ?? 'never stood'}`)
    socket.destroy()
  }
  const endIt = () => finish(undefined)
  longEnds.add(endIt)
  socket.on('connect', () => {
    talker = talk(socket)
  })
  socket.on('data', (chunk) => {
    clearTimeout(silence)
    silence = setTimeout(() => finish('silent'), silenceMs)
    const error = talker?.data(chunk.toString('latin1'))
    if (error !== undefined) return finish(error)
    if (!stands) {
      stands = true
      target.standing += 1
      tellIfReady()
    }
  })
  socket.on('error', (error) => finish(/** @type {NodeJS.ErrnoException} */ (error).code ?? error.message))
  socket.on('end', () => finish('closed by the server'))
}

/** Every answer must come from the host that gave the first one, to the same address. @param {Target} target */
const keepAlive = (target) =>
  long(target, 'keep-alive', (socket) => {
    let text = ''
    let first
    const ask = () => socket.write(request('/', 'keep-alive'))
    ask()
    const timer = setInterval(ask, keepAliveMs)
    return {
      end: () => clearInterval(timer),
      data(chunk) {
        text += chunk
        for (let answer = takeAnswer(text); answer; answer = takeAnswer(text)) {
          text = answer.rest
          first ??= answer.body
          if (answer.body !== first) return `first "${first.trim()}", then "${answer.body.trim()}"`
          if (answer.body.split(' ')[1] !== socket.localAddress) return `wrong source: ${answer.body.trim()}`
        }
        return undefined
      },
    }
  })

/** Lines "000000000000001", "000000000000002", …: a torn or doubled piece shows. @param {Target} target */
const download = (target) =>
  long(target, 'download', (socket) => {
    let text = ''
    let inBody = false
    let line = 0
    socket.write(request(`/slow?rate=${downloadRate}`, 'close'))
    return {
      data(chunk) {
        text += chunk
        if (!inBody) {
          const end = text.indexOf('\r\n\r\n')
          if (end < 0) return undefined
          text = text.slice(end + 4)
          inBody = true
        }
        for (; text.length >= 16; text = text.slice(16)) {
          line += 1
          if (text.slice(0, 16) !== `${String(line).padStart(15, '0')}\n`) return `line ${line} is damaged`
        }
        return undefined
      },
    }
  })

let told = false
function tellIfReady() {
  const all = targets.every(
    (target) => target.standing === target.long && (options.perSecond === 0 || target.waits.length > 0),
  )
  if (told || !all) return
  told = true
  process.stdout.write('ready\n')
}

function endLong() {
  for (const end of [...longEnds]) end()
}

function stop() {
  if (stopping) return
  stopping = true
  endLong()
  const drained = setInterval(() => {
    if (targets.some((target) => target.inFlight > 0)) return
    clearInterval(drained)
    report()
  }, 20)
}

function report() {
  const lines = targets.map(({ waits, inFlight, standing, ...target }) => {
    waits.sort((a, b) => a - b)
    const at = (share) =>
      Math.round((waits[Math.min(waits.length - 1, Math.floor(waits.length * share))] ?? 0) * 10) / 10
    return { ...target, p50: at(0.5), p99: at(0.99), longest: at(1) }
  })
  process.stdout.write(`${JSON.stringify({ targets: lines })}\n`, () => process.exit(0))
}

for (const target of targets) {
  for (let i = 0; i < options.keepAlive; i++) keepAlive(target)
  for (let i = 0; i < options.downloads; i++) download(target)
}
// Open loop: what is due is opened whether or not earlier ones have ended.
const begun = performance.now()
let opened = 0
setInterval(() => {
  if (stopping) return
  const due = Math.floor(((performance.now() - begun) / 1000) * options.perSecond)
  for (; opened < due; opened++)
    for (const target of targets) {
      if (target.inFlight < mostAtOnce) once(target)
      else target.held += 1
    }
  tellIfReady()
}, 5)
setTimeout(stop, options.seconds * 1000)
const input = createInterface({ input: process.stdin })
input.on('line', (line) => {
  if (line === 'end-long') endLong()
  else if (line === 'stop') stop()
})
input.on('close', stop)
process.on('SIGTERM', stop)
