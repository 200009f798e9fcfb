/** BIND on both hosts, moved there and back while resolvers ask by UDP and TCP: every question is answered. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { openAgainAndAgain, openingsText } from './openings.js'
import { Practice, withRoot } from './practice.js'

jest.setTimeout(300_000)

const [old4, old6] = ['203.0.113.10', '2001:db8:a::10']
const [new4, new6] = ['198.51.100.10', '2001:db8:b::10']
const addresses = [old4, new4, old6, new6]
const installed = existsSync('/usr/sbin/named')
if (!installed) process.stderr.write('skipped: BIND: bind9 is not installed\n')

const home = '/srv/bind'
const fleet = {
  fleet: 'names',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: {
    dns: {
      ...{ from: 'old1', to: 'new1', listen: ['udp/53', 'tcp/53'], drain: '5s' },
      run: {
        start: `pgrep -x named >/dev/null || named -u bind -c ${home}/named.conf`,
        stop: 'kill $(cat /run/named-practice/pid); while pgrep -x named >/dev/null; do sleep 0.05; done',
      },
      health: { command: 'dig +short +time=1 +tries=1 @127.0.0.1 host.practice.test TXT | grep -q .' },
    },
  },
}

interface Flow {
  target: string
  asked: number
  lost: number
  wrong: number
  slowestMs: number
  answeredBy: Record<string, number>
}

/** By TCP: two bytes of length before it (RFC 1035, 4.2.2). */
const tcpQuery = (() => {
  const name = Buffer.from('\x04host\x08practice\x04test\x00\x00\x10\x00\x01', 'latin1')
  const query = Buffer.concat([Buffer.from([0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), name])
  return Buffer.concat([Buffer.from([0, query.length]), query]).toString('hex')
})()
;(installed ? withRoot : describe.skip)('BIND', () => {
  let practice: Practice

  beforeAll(async () => {
    practice = await Practice.start('bind')
    for (const host of ['old1', 'new1']) {
      await practice.shell(
        host,
        `install -d -o bind ${home} /run/named-practice
         cat >${home}/named.conf <<'END'
options { directory "${home}"; pid-file "/run/named-practice/pid"; session-keyfile "/run/named-practice/key";
  listen-on { any; }; listen-on-v6 { any; }; recursion no; dnssec-validation no; };
controls { };
zone "practice.test" { type primary; file "zone"; };
END
         printf '%s\\n' '$TTL 60' '@ SOA ns hostmaster 1 60 60 60 60' '@ NS ns' 'ns A ${old4}' 'host TXT "${host}"' >${home}/zone`,
      )
    }
    await practice.shell('old1', fleet.services.dns.run.start)
    await practice.fleet(fleet)
    await practice.must('up', '--json')
  })
  afterAll(() => practice?.end())

  test('there and back: no question stays without an answer', async () => {
    const load = practice.spawn('client1', [
      ...['node', join(__dirname, 'fixtures', 'dns-load.mjs'), '40', '10', 'host.practice.test'],
      ...addresses,
    ])
    let said = ''
    load.stdout?.on('data', (chunk: Buffer) => {
      said += chunk
    })
    await practice.ready(load)
    const targets = addresses.map((address) => `${address}:53`)
    const stop = await openAgainAndAgain(practice, 'client2', { targets, perSecond: 20, say: tcpQuery, hear: 20 })
    await practice.must('advance', 'dns', '--json')
    await practice.must('rollback', 'dns', '--json')
    const openings = await stop()
    const flows = await new Promise<Flow[]>((resolve) => {
      load.once('close', () => resolve(JSON.parse(said.slice(said.indexOf('ready\n') + 6)) as Flow[]))
      load.stdin?.end()
    })
    const asked = flows.reduce((sum, flow) => sum + flow.asked, 0)
    const slowest = Math.max(...flows.map((flow) => flow.slowestMs))
    process.stderr.write(
      `measured: BIND: ${asked} questions by UDP, ${flows.reduce((sum, flow) => sum + flow.lost, 0)} without an answer, slowest ${slowest.toFixed(0)} ms; by TCP ${openingsText(openings)}\n`,
    )
    expect(flows.filter(({ lost, wrong }) => lost > 0 || wrong > 0)).toEqual([])
    expect(openings.flatMap(({ failed }) => failed)).toEqual([])
    // Each of them was moved, and came back.
    for (const { answeredBy } of flows) expect(Object.keys(answeredBy).sort()).toEqual(['new1', 'old1'])
  })
})
