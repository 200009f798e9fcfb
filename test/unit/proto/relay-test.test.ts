import { generateKeyPairSync } from 'node:crypto'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, TLSSocket } from 'node:tls'
import { selfSigned } from '../../../agent/self-signed.js'
import type { Ip } from '../../../proto/model/address.js'
import type { RelayResult } from '../../../proto/model/relay.js'
import { startRelayTest } from '../../../proto/relay-test.js'

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
const certificate = selfSigned(privateKey, 'mail', 1, new Date())
const secureContext = createSecureContext({
  key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
  cert: `-----BEGIN CERTIFICATE-----\n${certificate.toString('base64')}\n-----END CERTIFICATE-----\n`,
})

/** Answers by the command's first words; the connection itself is `hello`. */
type Script = Readonly<Record<string, string | undefined>>

describe('the open relay test', () => {
  let server: Server
  let heard: string[] = []
  const sockets = new Set<Socket>()

  afterEach(() => {
    for (const socket of sockets) socket.destroy()
    sockets.clear()
    server.close()
  })

  function serve(socket: Socket, script: Script): void {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      for (const command of chunk.toString().split('\r\n').filter(Boolean)) {
        heard.push(command)
        const answer = script[Object.keys(script).find((key) => command.startsWith(key)) ?? '']
        if (answer === undefined) continue
        // In pieces, as networks do it.
        for (const piece of answer.match(/.{1,7}/gs) ?? []) socket.write(piece)
        if (command !== 'STARTTLS') continue
        socket.removeAllListeners('data')
        const rest = { ...script, MAIL: '250 ok\r\n' }
        serve(new TLSSocket(socket, { isServer: true, secureContext }), rest)
      }
    })
  }

  /** Asks a server that answers so, and hangs up. */
  async function ask(script: Script, timeoutMs = 2000): Promise<RelayResult> {
    heard = []
    server = createServer((socket) => {
      serve(socket, script)
      if (script.hello !== undefined) socket.write(script.hello)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const test = startRelayTest({ address: '127.0.0.1' as Ip, port, timeoutMs, holdMs: 1000 })
    const result = await test.result
    const [socket] = sockets
    test.close()
    if (socket && !socket.destroyed) await new Promise((resolve) => socket.once('close', resolve))
    return result
  }

  const willing: Script = {
    hello: '220-mail.example\r\n220 ready\r\n',
    EHLO: '250-mail.example\r\n250-STARTTLS\r\n250 SIZE 1000\r\n',
    MAIL: '250 ok\r\n',
    RCPT: '250 ok\r\n',
  }

  test('refused, in the server’s own words; nothing is sent, and it takes leave', async () => {
    const result = await ask({ ...willing, RCPT: '554 5.7.1 <x>: Relay access denied\r\n' })
    expect(result).toMatchObject({ outcome: 'refused', source: '127.0.0.1' })
    expect(result.detail).toBe('relay refused ("554 5.7.1 <x>: Relay access denied")')
    expect(heard.map((line) => line.split(/[ :]/)[0])).toEqual(['EHLO', 'MAIL', 'RCPT', 'RSET', 'QUIT'])
  })

  test('refused for now by a server that defers what it does not relay', async () => {
    const result = await ask({ ...willing, RCPT: '454 4.7.1 <x>: Relay access denied\r\n' })
    expect(result.outcome).toBe('refused')
  })

  test('accepted', async () => {
    expect((await ask(willing)).outcome).toBe('accepted')
    expect(heard.some((line) => line.startsWith('DATA'))).toBe(false)
  })

  test('a greylist is no answer', async () => {
    const result = await ask({ ...willing, RCPT: '450 4.2.0 <x>: Recipient address rejected: Greylisted\r\n' })
    expect(result.outcome).toBe('unclear')
    expect(result.detail).toContain('Greylisted')
  })

  test('a server that wants TLS first gets it', async () => {
    const result = await ask({
      ...willing,
      MAIL: '530 5.7.0 Must issue a STARTTLS command first\r\n',
      STARTTLS: '220 go ahead\r\n',
      RCPT: '554 5.7.1 Relay access denied\r\n',
    })
    expect(result.outcome).toBe('refused')
  })

  test('an old server without EHLO', async () => {
    const result = await ask({ ...willing, EHLO: '502 unknown\r\n', HELO: '250 hello\r\n', RCPT: '550 no\r\n' })
    expect(result.outcome).toBe('refused')
  })

  test.each([
    ['one that talks to nobody', { hello: '554 go away\r\n' }, /answered the connection with "554 go away"/],
    ['one that says nothing', {}, /had not said so within 200 ms/],
    ['one that says what is no reply', { hello: `\u001b[2J${'x'.repeat(9000)}` }, /longer than 8192 bytes/],
    [
      'one with control characters',
      { hello: '220 \u001b[2J\r\n', EHLO: '421 \u001b[31mbusy\r\n' },
      /"421 {2}\[31mbusy"/,
    ],
  ] as [string, Script, RegExp][])('%s leaves it unclear', async (_, script, said) => {
    const result = await ask(script, 200)
    expect(result.outcome).toBe('unclear')
    expect(result.detail).toMatch(said)
  })
})
