/** `redirect:`: once a web service has moved, its old host answers by itself with a 308, and until then not. */
import type { Explanation } from '../../controller/explain.js'
import { addressesOf, endPractices, type Practice, startPractice, until, withRoot } from './practice.js'

jest.setTimeout(600_000)
afterAll(endPractices)

const [old4 = '', old6 = ''] = addressesOf('old1')
const [new4 = '', new6 = ''] = addressesOf('new1')
const port = 53820
const fleet = {
  fleet: 'web-shop',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: {
    shop: {
      from: 'old1',
      to: 'new1',
      listen: ['tcp/80', 'tcp/7001'],
      redirect: 'https://shop.example.test/new/',
      drain: '5s',
      run: { start: 'pgrep -x nginx >/dev/null || nginx', stop: '! pgrep -x nginx >/dev/null || nginx -s quit' },
      health: { http: 'http://127.0.0.1:80/healthz' },
    },
  },
  vantages: { client1: { ssh: 'root@198.18.0.11' } },
}

withRoot('a redirect', () => {
  let practice: Practice
  beforeAll(async () => {
    practice = await startPractice(`redirect-${process.pid}`)
    await practice.fleet(fleet)
    for (const host of ['old1', 'new1']) await practice.serve(host, host, ['tcp :: 7001'])
    await practice.expect('up')
  })

  const curl = async (words: string, client = 'client1'): Promise<string> =>
    (await practice.shell(client, `curl -sS --max-time 10 ${words}`)).replaceAll('\r', '')
  /** Status and Location, as curl tells them. */
  const answer = (words: string, client?: string): Promise<string> =>
    curl(`-o /dev/null -w '%{http_code} %header{location}' ${words}`, client)
  const processes = async (): Promise<string> =>
    practice.shell('old1', `grep -alZ 'redirect' /run/fleetmove/*.redirect.pid 2>/dev/null | xargs -0r cat || true`)
  const advance = (): Promise<unknown> => practice.expect('advance shop')

  test('plan says what it is going to be, and nothing is redirected before the move', async () => {
    const stdout = (await practice.fleetmove('plan')).stdout.replaceAll(/\s+/g, ' ')
    expect(stdout).toContain(
      'from then on old1 answers tcp/80 itself, with a redirect (308) to https://shop.example.test/new',
    )
    expect(stdout).toContain('tcp/7001 is forwarded all the same')
    for (const address of [old4, `[${old6}]`, new4]) expect(await curl(`http://${address}/`)).toMatch(/^old1 /)
    expect(await processes()).toBe('')
  })

  test('canaries are refused: nobody is forwarded for them', async () => {
    const { stderr } = await practice.expect('advance shop --canary 5,100', 64)
    expect(stderr).toContain('forwards nobody')
  })

  test('after the switch the old addresses lead on, the new ones to the service', async () => {
    await advance()
    for (const address of [old4, `[${old6}]`]) {
      const head = await curl(`-I 'http://${address}/a/b?c=d&e'`)
      expect(head).toMatch(/^HTTP\/1\.1 308 Permanent Redirect\n/)
      expect(head).toMatch(/^location: https:\/\/shop\.example\.test\/new\/a\/b\?c=d&e$/im)
      expect(head).toMatch(/^cache-control: no-store$/im)
    }
    for (const address of [new4, `[${new6}]`]) expect(await curl(`http://${address}/`)).toMatch(/^new1 /)
    // What isn't HTTP is forwarded as ever.
    const [echo] = await practice.ask('client1', [{ protocol: 'tcp', address: old4, port: 7001 }])
    expect(echo).toMatchObject({ host: 'new1', source: '198.18.0.11' })
  })

  test('every method, old clients, bodies, and several requests on one connection', async () => {
    const to = '308 https://shop.example.test/new'
    expect(await answer(`-X DELETE http://${old4}/x`)).toBe(`${to}/x`)
    expect(await answer(`-0 http://${old4}/`)).toBe(`${to}/`)
    expect(await answer(`-X OPTIONS --request-target '*' http://${old4}`)).toBe(`${to}/`)
    expect(await answer(`--request-target 'http://other.example/y?z' http://${old4}/`)).toBe(`${to}/y?z`)
    expect(await answer(`--request-target '@evil.example/' http://${old4}/`)).not.toContain('@')
    await practice.shell('client1', 'head -c 3000000 /dev/zero >/root/body')
    expect(await answer(`--data-binary @/root/body http://${old4}/form`)).toBe(`${to}/form`)
    const both = `-o /dev/null -o /dev/null -w '%{http_code} %{num_connects}\\n' http://${old4}/1 http://${old4}/2`
    expect(await curl(both)).toBe('308 1\n308 0\n')
    // From the host itself, too.
    expect(await answer(`http://${old4}/own`, 'old1')).toBe(`${to}/own`)
    expect(await curl(`-o /dev/null -w '%{http_code}' -H 'X: ${'x'.repeat(20_000)}' http://${old4}/`)).toBe('431')
  })

  test('who answers is nobody, and reached by the dispatch alone', async () => {
    const { pid } = JSON.parse(await processes()) as { pid: number }
    const status = await practice.shell('old1', `cat /proc/${pid}/status`)
    expect(status).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/m)
    expect(status).toMatch(/^Groups:\s*$/m)
    expect(status).toMatch(/^CapEff:\t0+$/m)
    expect(status).toMatch(/^CapPrm:\t0+$/m)
    for (const address of [old4, `[${old6}]`])
      expect(await practice.shell('client1', `curl -sS --max-time 10 http://${address}:${port}/ 2>&1 || true`)).toMatch(
        /refused|Couldn't connect/,
      )
  })

  test('it is proved, and its clients are told of as ones who come by the old address', async () => {
    const { events } = await practice.expect('verify')
    const { proofs } = events.at(-1) as unknown as { proofs: { address: string; port: number; verdict: object }[] }
    const own = proofs.filter((proof) => proof.port === 80 && [old4, old6].includes(proof.address))
    expect(own.length).toBeGreaterThan(0)
    for (const { verdict } of own) expect(verdict).toMatchObject({ kind: 'preserved' })
    expect(JSON.stringify(own)).toContain('a socket of old1')
    expect(await answer(`http://${old4}/`, 'client2')).toMatch(/^308 /)
    const { stderr } = await practice.expect('finalize', 6)
    expect(stderr).toContain('198.18.0.12')
    const explained = (await practice.expect('explain client1 shop --listener tcp/80')).events.at(
      -1,
    ) as unknown as Explanation
    expect(explained.journeys.map(({ ingress, verdict }) => [ingress, verdict.ok, verdict.text])).toEqual([
      ['old1', true, 'it passes both ways, and old1 answers'],
      ['new1', true, 'it passes both ways, and new1 answers'],
    ])
  })

  test('it is started again when it dies, and let through by other firewalls', async () => {
    const before = JSON.parse(await processes()) as { pid: number }
    await practice.shell('old1', `kill -9 ${before.pid}`)
    await until('another one', async () => {
      const now = await processes()
      return now !== '' && (JSON.parse(now) as { pid: number }).pid !== before.pid
    })
    await until('an answer', async () => (await answer(`http://${old4}/ || true`)).startsWith('308'))
    const chain =
      'table inet site { chain input { type filter hook input priority 0; policy drop; ct state established,related accept; iif lo accept; meta l4proto { icmp, ipv6-icmp } accept; tcp dport { 22, 80 } accept; }; }'
    await practice.shell('old1', `nft '${chain}'`)
    for (const address of [old4, `[${old6}]`])
      await until(`an answer by ${address}`, async () =>
        (await answer(`-m 2 http://${address}/ || true`)).startsWith('308'),
      )
    await practice.shell('old1', 'nft delete table inet site')
  })

  test('clients that say nothing are bounded, in number and in time', async () => {
    const script = `const net = require('node:net'); let open = 0, closed = 0, most = 0;
      for (let i = 0; i < 1100; i++) net.connect(80, '${old4}').resume().on('connect', () => { most = Math.max(most, ++open) })
        .on('error', () => {}).on('close', () => { open--; if (++closed === 1100) console.log('all closed') })`
    const said = await practice.shell('client2', `${process.execPath} -e "${script.replaceAll('\n', ' ')}"`, 60_000)
    expect(said).toBe('all closed\n')
    expect(await answer(`http://${old4}/`)).toMatch(/^308 /)
  })

  test('rollback takes it away, and so does finalize', async () => {
    await practice.expect('rollback shop')
    for (const address of [old4, `[${old6}]`, new4]) expect(await curl(`http://${address}/`)).toMatch(/^old1 /)
    expect(await processes()).toBe('')
    await advance()
    expect(await answer(`http://${old4}/`)).toMatch(/^308 /)
    await practice.expect('finalize --force')
    expect(await practice.shell('client1', `curl -sS --max-time 5 http://${old4}/ 2>&1 || true`)).toMatch(
      /refused|connect/,
    )
    expect(await practice.shell('old1', `ss -Hltn 'sport = :${port}'`)).toBe('')
    expect(await curl(`http://${new4}/`)).toMatch(/^new1 /)
  })
})
