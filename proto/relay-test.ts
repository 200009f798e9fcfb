/**
 * Asks a mail server whether it would take mail for a stranger's domain, and hangs up before there is any mail
 * (RFC 5321): EHLO, MAIL FROM:<>, RCPT TO, and never DATA. From a host (its agent) or from the controller's
 * machine: the same code, so that their results mean the same.
 */
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { hostPort } from './model/address.js'
import { type RelayResult, type RelaySpec, tlsMailPort } from './model/relay.js'
import { parseIp } from './parse.js'
import { SmtpReplies, type SmtpReply } from './smtp-replies.js'

export interface RunningRelayTest {
  /** When the server has answered, or couldn't. The connection stands on until `close`, or for `holdMs`. Never rejects. */
  result: Promise<RelayResult>
  close(): void
}

/** Nobody's mailbox: the domain is reserved (RFC 2606) and takes no mail at all (RFC 7505, a null MX). */
const recipient = 'fleetmove-relay-test@example.com'
/** As the server's log will show it: who asks, and that it is a test. */
const clientName = 'relay-test.fleetmove.invalid'

export function startRelayTest(spec: RelaySpec): RunningRelayTest {
  const target = hostPort(spec.address, spec.port)
  let socket: Socket = connect({ host: spec.address, port: spec.port, noDelay: true })
  let source: Pick<RelayResult, 'source' | 'sourcePort'> = { source: '', sourcePort: 0 }
  let hold: NodeJS.Timeout | undefined
  const replies = new SmtpReplies()
  const follow = (to: Socket): void => {
    socket = to
    to.on('data', (chunk) => replies.hear(chunk.toString('latin1')))
    to.on('error', (error) => replies.fail(error))
    to.on('close', () => replies.fail(new Error(`${target} ended the connection`)))
  }
  const plain = socket
  follow(plain)
  plain.once('connect', () => {
    const local = parseIp(plain.localAddress ?? '')
    source = { source: local.ok ? local.value : '', sourcePort: plain.localPort ?? 0 }
  })
  const limit = setTimeout(
    () => replies.fail(new Error(`${target} had not said so within ${spec.timeoutMs} ms`)),
    spec.timeoutMs,
  )
  const close = (): void => {
    clearTimeout(hold)
    // A server that hangs mustn't keep us.
    socket.setTimeout(1000, () => socket.destroy())
    if (!socket.destroyed) socket.end('RSET\r\nQUIT\r\n')
  }
  const say = (line: string): Promise<SmtpReply> => {
    socket.write(`${line}\r\n`)
    return replies.next()
  }
  /** From here on the plain connection is read by TLS alone. */
  const secure = (): void => {
    plain.removeAllListeners('data')
    // Its name isn't what we ask about, and nothing secret is said.
    follow(connectTls({ socket: plain, rejectUnauthorized: false }))
  }
  const result = dialogue(spec, say, secure, replies)
    .catch((error: Error) => ({ outcome: 'unclear' as const, detail: error.message }))
    .then((found) => {
      clearTimeout(limit)
      hold = setTimeout(close, spec.holdMs)
      hold.unref()
      return { ...found, ...source }
    })
  return { result, close }
}

async function dialogue(
  { address, port }: RelaySpec,
  say: (line: string) => Promise<SmtpReply>,
  secure: () => void,
  replies: SmtpReplies,
): Promise<Pick<RelayResult, 'outcome' | 'detail'>> {
  const target = hostPort(address, port)
  const unclear = (at: string, { text }: SmtpReply) =>
    ({ outcome: 'unclear', detail: `${target} answered ${at} with "${text}"` }) as const
  if (port === tlsMailPort) secure()
  const greeting = await replies.next()
  if (greeting.code !== 220) return unclear('the connection', greeting)
  let hello = await greet(say)
  if (hello.code !== 250) return unclear('EHLO', hello)
  let mail = await say('MAIL FROM:<>')
  if (mail.code === 530 && /\bSTARTTLS\b/i.test(hello.text)) {
    const begin = await say('STARTTLS')
    if (begin.code !== 220) return unclear('STARTTLS', begin)
    secure()
    hello = await greet(say)
    if (hello.code !== 250) return unclear('EHLO', hello)
    mail = await say('MAIL FROM:<>')
  }
  if (mail.code !== 250) return refusal(mail) ?? unclear('MAIL FROM', mail)
  const answer = await say(`RCPT TO:<${recipient}>`)
  if (answer.code >= 200 && answer.code < 300) {
    return { outcome: 'accepted', detail: `${target} takes mail for example.com ("${answer.text}")` }
  }
  return refusal(answer) ?? unclear('RCPT TO', answer)
}

async function greet(say: (line: string) => Promise<SmtpReply>): Promise<SmtpReply> {
  const extended = await say(`EHLO ${clientName}`)
  return extended.code >= 500 ? say(`HELO ${clientName}`) : extended
}

/**
 * For good (5xx), or "for now" by a server that is only told to defer what it doesn't relay (Debian's Postfix:
 * 454 4.7.1). Not the 4xx of greylisting, which is no answer yet.
 */
function refusal({ code, text }: SmtpReply): Pick<RelayResult, 'outcome' | 'detail'> | null {
  const refused = code >= 500 || /^4\d\d[ -]4\.7\.1\b.*\b(relay|access denied)/i.test(text)
  return refused ? { outcome: 'refused', detail: `relay refused ("${text}")` } : null
}
