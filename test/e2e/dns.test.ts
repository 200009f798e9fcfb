/** `fleetmove dns` with real name servers: a BIND primary that takes signed updates, its secondary, and a cache. */
import { endPractices, type Practice, startPractice, until, withRoot } from './practice.js'

jest.setTimeout(300_000)
afterAll(endPractices)

const [primary, secondary] = ['198.18.0.12', '198.18.0.11']

/** Everything under /root/dns of a host of the practice network, in the foreground's user: no service of the machine's. */
async function named(practice: Practice, host: string, options: string, zones: string): Promise<void> {
  await practice.shell(
    host,
    `mkdir -p /root/dns && cd /root/dns && cat >named.conf <<'END'
options { directory "/root/dns"; pid-file none; session-keyfile none; dnssec-validation no; ${options} };
controls {};
${zones}
END`,
  )
  // Its modules and their seccomp filter are no matter here: -f stays in the foreground, -g would log to a terminal.
  practice.spawn(host, ['named', '-f', '-n', '1', '-c', '/root/dns/named.conf'])
}

async function startServers(practice: Practice): Promise<void> {
  const key = await practice.shell('controller', 'umask 077; tsig-keygen mover | tee /root/tsig.key')
  await practice.shell(
    'client2',
    `mkdir -p /root/dns && cd /root/dns && cat >example.zone <<'END'
$TTL 300
@ SOA ns1 hostmaster 1 3600 600 86400 5
@ NS ns1
@ NS ns2
ns1 A ${primary}
ns2 A ${secondary}
web 300 A 203.0.113.10
web 300 A 192.0.2.7
web 300 AAAA 2001:db8:a::10
www CNAME web
END
cat >reverse.zone <<'END'
$TTL 300
@ SOA ns1.example.test. hostmaster.example.test. 1 3600 600 86400 5
@ NS ns1.example.test.
77 PTR uptime.monitor.example.
END`,
  )
  await named(
    practice,
    'client2',
    'listen-on { any; }; listen-on-v6 { none; }; recursion no; notify-delay 0; allow-transfer { any; };',
    `${key}
zone "example.test" { type primary; file "example.zone"; update-policy { grant mover zonesub ANY; }; };
zone "0.18.198.in-addr.arpa" { type primary; file "reverse.zone"; };`,
  )
  await named(
    practice,
    'client1',
    'listen-on { any; }; listen-on-v6 { none; }; recursion no;',
    `zone "example.test" { type secondary; primaries { ${primary}; }; file "example.copy"; };`,
  )
  await named(
    practice,
    'controller',
    `listen-on port 5300 { 127.0.0.1; }; listen-on-v6 { none; }; recursion yes; allow-query { any; }; forward only; forwarders { ${primary}; };`,
    '',
  )
  for (const server of [`@${primary}`, `@${secondary}`, '@127.0.0.1 -p 5300'])
    await until(`an answer of ${server}`, async () =>
      (await practice.shell('controller', `dig +short +tries=1 +time=1 ${server} www.example.test A || true`)).includes(
        '203.0.113.10',
      ),
    )
}

interface Report {
  records: {
    type: string
    side: string
    ttlSeconds: number
    cachesGoneAt: string | null
    servers: { side: string }[]
    resolvers: { side: string; answer: { addresses: string[] } }[]
  }[]
  arrivals: { viaOld: number; stragglers: { client: string; names: string[]; cause: string }[] }[]
}

withRoot('names of a service', () => {
  let practice: Practice
  const report = async (): Promise<Report> => (await practice.expect('dns')).events[0] as unknown as Report
  const dig = (server: string, type: string): Promise<string> =>
    practice.shell('controller', `dig +short @${server} web.example.test ${type} | sort`)

  beforeAll(async () => {
    practice = await startPractice(`dns-${process.pid}`)
    await startServers(practice)
    await practice.shell(
      'controller',
      `sed -i -e 's/^    listen: .tcp.80.$/&\\n    names: [www.example.test]/' /root/fleet.yaml
cat >>/root/fleet.yaml <<'END'
dns:
  resolvers: [${primary}, "127.0.0.1:5300"]
  ttl: 2s
  update: { key: /root/tsig.key }
END`,
    )
  })
  afterAll(() => practice.end())

  test('nothing is changed before both addresses answer', async () => {
    const { records } = await report()
    expect(records.map(({ type, side, ttlSeconds }) => [type, side, ttlSeconds])).toEqual([
      ['A', 'old', 300],
      ['AAAA', 'old', 300],
    ])
    expect(records[0]!.servers.map(({ side }) => side)).toEqual(['old', 'old'])
    const refused = await practice.expect('dns switch', 1)
    expect(refused.stderr).toMatch(/nobody answers for web at the new address yet[\s\S]*fleetmove up/)
  })

  test('the time to live is lowered first, and the record changed when the longer one has passed', async () => {
    await practice.expect('up')
    // The cache takes the old answer, with what is left of its five minutes.
    await practice.shell('controller', 'dig +short @127.0.0.1 -p 5300 www.example.test A')
    const gate = await practice.expect('dns switch', 6)
    expect(gate.stderr).toMatch(/time to live is lowered; caches may hold the longer one: web\.example\.test A until/)
    expect((await report()).records.map(({ side, ttlSeconds }) => [side, ttlSeconds])).toEqual([
      ['old', 2],
      ['old', 2],
    ])
    // Five minutes haven't passed: it still waits, and has changed no address.
    await practice.expect('dns switch', 6)
    expect(await dig(primary, 'A')).toBe('192.0.2.7\n203.0.113.10\n')

    const { events } = await practice.expect('dns switch --now')
    expect((events.at(-1) as unknown as { changed: { type: string; behind: string[] }[] }).changed).toMatchObject([
      { type: 'A', behind: [] },
      { type: 'AAAA', behind: [] },
    ])
    for (const server of [primary, secondary]) {
      expect(await dig(server, 'A')).toBe('192.0.2.7\n198.51.100.10\n')
      expect(await dig(server, 'AAAA')).toBe('2001:db8:b::10\n')
    }
    const { records } = await report()
    expect(records[0]).toMatchObject({ side: 'new' })
    // Who was answered right before the lowering may keep it for five minutes.
    const gone = Date.parse(records[0]!.cachesGoneAt!) - Date.now()
    expect(gone).toBeGreaterThan(200_000)
    expect(gone).toBeLessThan(301_000)
    expect(records[0]!.resolvers.map(({ side }) => side)).toEqual(['new', 'old'])
    // The second run finds nothing to do.
    expect((await practice.expect('dns switch')).events.at(-1)).toMatchObject({ changed: [] })
  })

  test('who still comes by the old address is told, with a name and a guess', async () => {
    await practice.expect('advance --all')
    // No vantage's address: our own probes don't count as clients.
    await practice.shell(
      'client1',
      'ip addr add 198.18.0.77/24 dev eth0 && curl -sf --interface 198.18.0.77 --max-time 5 http://203.0.113.10/ -o /dev/null',
    )
    const [web] = (await report()).arrivals
    expect(web!.viaOld).toBeGreaterThan(0)
    expect(web!.stragglers).toMatchObject([
      { client: '198.18.0.77', names: ['uptime.monitor.example'], cause: 'cached' },
    ])
    const text = await practice.must('dns')
    expect(text.stdout).toMatch(/www\.example\.test \(web\.example\.test\) A: 203\.0\.113\.10 → 198\.51\.100\.10/)
    expect(text.stdout).toMatch(/99 % by the new one: /)
    expect(text.stdout).toMatch(/198\.18\.0\.77 +uptime\.monitor\.example +80 +\d+ .* cached answer may still be valid/)
  })

  test('it goes back, and a record that somebody else changes is left alone', async () => {
    await practice.expect('dns switch --back --now')
    expect(await dig(primary, 'A')).toBe('192.0.2.7\n203.0.113.10\n')
    await practice.shell('controller', 'chmod 644 /root/tsig.key')
    expect((await practice.expect('dns switch --now', 64)).stderr).toMatch(
      /is open to others than its owner[\s\S]*chmod 600/,
    )
    await practice.shell('controller', 'tsig-keygen mover >/root/tsig.key; chmod 600 /root/tsig.key')
    expect((await practice.expect('dns switch --now', 1)).stderr).toMatch(/didn't take the change[\s\S]*BADSIG/)
    expect(await dig(primary, 'A')).toBe('192.0.2.7\n203.0.113.10\n')
  })

  test('a hook gets the name and the addresses', async () => {
    await practice.shell(
      'controller',
      `sed -i 's/^  update: .*/  hook: env | grep ^FLEETMOVE_DNS_ | sort >>\\/root\\/hook.log; exit 3/' /root/fleet.yaml`,
    )
    expect((await practice.expect('dns switch --now', 1)).stderr).toMatch(
      /dns\.hook failed for www\.example\.test \(status 3\)/,
    )
    expect(
      await practice.shell('controller', 'cat /root/hook.log'),
    ).toBe(`FLEETMOVE_DNS_ADDRESSES=192.0.2.7 198.51.100.10
FLEETMOVE_DNS_BEFORE=192.0.2.7 203.0.113.10
FLEETMOVE_DNS_NAME=web.example.test
FLEETMOVE_DNS_TTL=2
FLEETMOVE_DNS_TYPE=A
FLEETMOVE_DNS_ZONE=example.test
`)
  })
})
