import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { Witnesses } from '../../agent/probe/witness.js'
import type { Ip } from '../../proto/model/address.js'
import type { ProbeSpec, Receipt } from '../../proto/model/probe.js'
import { encodeRequest } from '../../proto/probe-wire.js'
import { sendProbe, startProbe } from '../../proto/send-probe.js'
import { inOwnNamespace } from './netns.js'

const ip = (text: string): Ip => text as Ip
const [one, two, six] = [ip('10.77.1.1'), ip('10.77.1.2'), ip('fd77:1::1')]
const port = 7000
const token = Uint8Array.from({ length: 16 }, (_, i) => i)
const stranger = new Uint8Array(16).fill(9)

const spec = (part: Partial<ProbeSpec>): ProbeSpec => ({
  ...{ protocol: 'tcp', address: one, port, token, bytes: 100, timeoutMs: 3000, connectOnly: false, holdMs: 1000 },
  ...part,
})

/** Drops what the expression matches where it arrives (in output, send(2) would tell the sender), while `work` runs. */
async function dropping<T>(expression: string, work: () => Promise<T>): Promise<T> {
  const chain = `chain drops {\n type filter hook input priority 0\n ${expression} drop\n }`
  writeFileSync('/run/drop.nft', `table inet drops {\n ${chain}\n}\n`)
  execFileSync('nft', ['-f', '/run/drop.nft'])
  try {
    return await work()
  } finally {
    execFileSync('nft', ['delete', 'table', 'inet', 'drops'])
  }
}

inOwnNamespace(__filename, () => {
  const receipts: Receipt[] = []
  const abort = new AbortController()
  const witnesses = new Witnesses()

  beforeAll(async () => {
    for (const address of [one, two]) execFileSync('ip', ['addr', 'add', `${address}/32`, 'dev', 'lo'])
    execFileSync('ip', ['addr', 'add', `${six}/128`, 'dev', 'lo', 'nodad'])
    // As on a wire: large datagrams go in fragments.
    execFileSync('ip', ['link', 'set', 'lo', 'mtu', '1500'])
    await witnesses.open({
      ports: [port, port + 1],
      tokens: [token],
      onReceipt: (r) => void receipts.push(r),
      signal: abort.signal,
    })
  })
  beforeEach(() => void receipts.splice(0))
  afterAll(async () => {
    abort.abort()
    // Everything is closed: the ports are free again.
    const free = new AbortController()
    await new Witnesses().open({ ports: [port], tokens: [], onReceipt: () => {}, signal: free.signal })
    free.abort()
  })

  for (const protocol of ['tcp', 'udp'] as const) {
    for (const [address, bytes] of [
      [one, 100],
      [two, 3000],
      [six, 3000],
      [six, 8192],
      [one, 1],
    ] as const) {
      test(`${protocol} ${address}, ${bytes} bytes: answered whole, and the receipt tells both ends`, async () => {
        const size = Math.max(bytes, 68)
        const result = await sendProbe(spec({ protocol, address, bytes }))
        expect(result).toMatchObject({
          outcome: 'answered',
          bytes: size,
          detail: expect.stringContaining('the origin saw'),
        })
        expect(result.connectMs).toBeGreaterThan(0)
        expect(receipts).toEqual([
          {
            ...{ token, protocol, source: result.source, sourcePort: result.sourcePort },
            ...{ destination: address, destinationPort: port, bytes: size, timeMs: expect.any(Number) },
          },
        ])
        expect(result.source).toBe(address)
      })
    }

    test(`${protocol}: nobody there is a refusal, silence a timeout`, async () => {
      const refused = await sendProbe(spec({ protocol, port: 7100 }))
      expect(refused).toMatchObject({ outcome: 'refused', detail: expect.stringContaining('refused') })
      const silent = await dropping(`${protocol} dport ${port}`, () => sendProbe(spec({ protocol, timeoutMs: 400 })))
      expect(silent.outcome).toBe('timeout')
      expect(receipts).toEqual([])
    })

    test(`${protocol}: what is large and gets lost on the way there is truncated`, async () => {
      const result = await dropping(`${protocol} dport ${port} meta length > 600`, () =>
        sendProbe(spec({ protocol, bytes: 3000, timeoutMs: 1000 })),
      )
      expect(result).toMatchObject({ outcome: 'truncated', source: one })
      if (protocol === 'tcp') expect(result.detail).toContain('the 3000 bytes sent did not arrive whole')
    })

    test(`${protocol}: what is large and gets lost on the way back is truncated`, async () => {
      const result = await dropping(`${protocol} sport ${port} meta length > 600`, () =>
        sendProbe(spec({ protocol, bytes: 3000, timeoutMs: 1000 })),
      )
      expect(result.outcome).toBe('truncated')
      if (protocol === 'tcp')
        expect(result.detail).toContain('the 3000 bytes sent arrived, of the 3000 bytes answered 68 came')
      expect(receipts[0]).toMatchObject({ protocol, bytes: 3000 })
    })
  }

  test('a lost first datagram is no failure', async () => {
    const result = await dropping(`udp dport ${port} limit rate 1/hour burst 1 packets`, () =>
      sendProbe(spec({ protocol: 'udp', timeoutMs: 2000 })),
    )
    expect(result.outcome).toBe('answered')
    expect(result.connectMs).toBeGreaterThan(100)
  })

  test('the receipt shows an address that was rewritten on the way', async () => {
    execFileSync('nft', ['add', 'table', 'ip', 'masq'])
    execFileSync('nft', ['add', 'chain', 'ip', 'masq', 'post', '{ type nat hook postrouting priority 100; }'])
    execFileSync('nft', ['add', 'rule', 'ip', 'masq', 'post', 'ip', 'daddr', one, 'snat', 'to', two])
    try {
      const result = await sendProbe(spec({}))
      expect(result).toMatchObject({ outcome: 'answered', source: one })
      expect(receipts[0]).toMatchObject({ source: two, destination: one })
    } finally {
      execFileSync('nft', ['delete', 'table', 'ip', 'masq'])
    }
  })

  test('strangers learn nothing: closed over TCP, ignored over UDP', async () => {
    expect(await sendProbe(spec({ token: stranger }))).toMatchObject({ outcome: 'closed', bytes: 0 })
    expect(await sendProbe(spec({ token: stranger, protocol: 'udp', timeoutMs: 300 }))).toMatchObject({
      outcome: 'timeout',
    })
    const scanner = connect(port, one)
    scanner.on('error', () => {})
    scanner.write('GET / HTTP/1.0\r\n\r\n')
    await new Promise((resolve) => scanner.once('close', resolve))
    expect(scanner.bytesRead).toBe(0)
    expect(receipts).toEqual([])
  })

  test('an answer over UDP is never larger than its request', async () => {
    const socket = createSocket('udp4')
    const request = encodeRequest(token, 8192).subarray(0, 100)
    socket.send(request, port, one)
    const [answer] = (await once(socket, 'message')) as [Buffer]
    expect(answer.length).toBe(100)
    socket.send(request.subarray(0, 60), port, one)
    socket.send(request, port, one)
    await once(socket, 'message')
    // The one of 60 bytes, too small for an answer, went before and left no receipt.
    expect(receipts.map((r) => r.bytes)).toEqual([100, 100])
    socket.close()
  })

  test('who witnesses at the same time shares the ports, each with probes of its own, until the last has gone', async () => {
    const [others, heard] = [Buffer.alloc(16, 9), [] as Receipt[]]
    const both = [new AbortController(), new AbortController()]
    for (const [i, { signal }] of both.entries())
      await witnesses.open({
        ...{ ports: [port, 7400], tokens: [i === 0 ? Buffer.alloc(16, 8) : others], signal },
        onReceipt: (r) => void heard.push(r),
      })
    both[0]!.abort()
    for (const protocol of ['tcp', 'udp'] as const) {
      expect(await sendProbe(spec({ protocol, token: others }))).toMatchObject({ outcome: 'answered' })
      expect(await sendProbe(spec({ protocol }))).toMatchObject({ outcome: 'answered' })
    }
    expect(heard.map(({ token: of }) => Buffer.from(of))).toEqual([others, others])
    expect(receipts.map(({ token: of }) => Buffer.from(of))).toEqual([Buffer.from(token), Buffer.from(token)])
    expect(await sendProbe(spec({ port: 7400, token: others }))).toMatchObject({ outcome: 'answered' })
    both[1]!.abort()
    expect(await sendProbe(spec({ port: 7400, token: others }))).toMatchObject({ outcome: 'refused' })
  })

  test('a port in use is named, and nothing stays open', async () => {
    const other = createServer().listen(7200, one)
    await once(other, 'listening')
    const attempt = witnesses.open({
      ports: [7199, 7200],
      tokens: [],
      onReceipt: () => {},
      signal: new AbortController().signal,
    })
    await expect(attempt).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('tcp/7200 is taken'),
    })
    expect(await sendProbe(spec({ port: 7199 }))).toMatchObject({ outcome: 'refused' })
    other.close()
    await once(other, 'close')
    const datagrams = createSocket('udp4').bind(7200, two)
    await once(datagrams, 'listening')
    const again = witnesses.open({
      ports: [7200],
      tokens: [],
      onReceipt: () => {},
      signal: new AbortController().signal,
    })
    await expect(again).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining(`udp/7200 is taken at ${two}`),
    })
    datagrams.close()
  })

  test('a connection to a real listener is held; its port is known while it stands', async () => {
    const server = createServer((socket) => socket.on('error', () => {}).write('220 welcome\r\n')).listen(7300, '::')
    await once(server, 'listening')
    const probe = startProbe(spec({ port: 7300, connectOnly: true, holdMs: 60_000 }))
    const connected = await probe.connected
    expect(connected).toMatchObject({ source: one, sourcePort: expect.any(Number) })
    const standing = execFileSync('ss', [
      '-Htn',
      'state',
      'established',
      'sport',
      '=',
      `:${connected?.sourcePort}`,
    ]).toString()
    expect(standing).toContain(`${one}:7300`)
    probe.close()
    expect(await probe.result).toMatchObject({ outcome: 'answered', sourcePort: connected?.sourcePort })
    expect(await sendProbe(spec({ port: 7300, connectOnly: true, holdMs: 50 }))).toMatchObject({ outcome: 'answered' })
    server.close()
    const absent = startProbe(spec({ port: 7301, connectOnly: true }))
    expect(await absent.connected).toBeNull()
    expect(await absent.result).toMatchObject({ outcome: 'refused', source: '', sourcePort: 0 })
  })

  test('a listener that closes at once is told apart', async () => {
    const server = createServer((socket) => socket.destroy()).listen(7302, '::')
    await once(server, 'listening')
    expect(await sendProbe(spec({ port: 7302, connectOnly: true, holdMs: 5000 }))).toMatchObject({ outcome: 'closed' })
    server.close()
  })

  test('something else on the port is named', async () => {
    const server = createServer((socket) => socket.on('error', () => {}).end('x'.repeat(100))).listen(7303, '::')
    await once(server, 'listening')
    expect(await sendProbe(spec({ port: 7303 }))).toMatchObject({
      outcome: 'error',
      detail: expect.stringContaining('something else'),
    })
    server.close()
  })

  test('an abort ends a probe', async () => {
    const stop = new AbortController()
    const pending = dropping(`tcp dport ${port}`, () => sendProbe(spec({ timeoutMs: 60_000 }), stop.signal))
    setTimeout(() => stop.abort(), 50)
    expect(await pending).toMatchObject({ outcome: 'closed', detail: expect.stringContaining('given up') })
  })

  test('no route is an error of the prober', async () => {
    expect(await sendProbe(spec({ address: ip('203.0.113.1') }))).toMatchObject({
      outcome: 'error',
      detail: expect.stringContaining('no route'),
    })
    expect(await sendProbe(spec({ address: ip('203.0.113.1'), protocol: 'udp' }))).toMatchObject({
      outcome: 'error',
      detail: expect.stringContaining('no route'),
    })
  })
})
