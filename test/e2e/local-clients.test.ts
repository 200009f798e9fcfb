/** Processes and containers of the two hosts themselves, as clients of a service before and after its move. */
import { join } from 'node:path'
import { Practice, withRoot } from './practice.js'

jest.setTimeout(300_000)

const [old4, old6] = ['203.0.113.10', '2001:db8:a::10']
const [new4, new6] = ['198.51.100.10', '2001:db8:b::10']
const ask = ['perl', join(__dirname, 'fixtures/ask.pl')]
const hosts = { old1: [old4, old6], new1: [new4, new6] } as const

const fleet = {
  fleet: 'local',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: {
    any: {
      ...{ from: 'old1', to: 'new1', listen: ['tcp/7001', 'udp/7001'], drain: '1s' },
      localhost: true,
      health: { command: 'true' },
    },
    quiet: { from: 'old1', to: 'new1', listen: ['tcp/7002'], drain: '1s' },
  },
}

withRoot('local clients', () => {
  let practice: Practice
  const containers = new Map<string, string>()

  beforeAll(async () => {
    practice = await Practice.start('local')
    for (const host of ['old1', 'new1'] as const) {
      await practice.serve(host, host, ['tcp :: 7001', 'udp :: 7001', 'tcp :: 7002'])
      containers.set(
        host,
        await practice.container(host, ['tcp'], ['perl', Practice.echo, 'inner', 'tcp', '::', '8080']),
      )
    }
    await practice.fleet(fleet)
    await practice.must('up', '--json')
  })
  afterAll(() => practice?.end())

  const lines = async (host: string, argv: readonly string[]): Promise<string[]> => {
    const { stdout, stderr } = await practice.lab.exec(host, argv, { timeoutMs: 30_000 })
    if (stderr !== '') throw new Error(stderr)
    return stdout.trim().split('\n')
  }
  const targets = (addresses: readonly string[], port: number): string[] =>
    addresses.flatMap((address) => ['tcp', address, String(port), 'udp', address, String(port)])

  async function expectAll(active: 'old1' | 'new1'): Promise<void> {
    for (const host of ['old1', 'new1'] as const) {
      const everywhere = targets([...hosts.old1, ...hosts.new1], 7001)
      const seen = (await lines(host, [...ask, ...everywhere])).map((line) => line.split(' '))
      expect(seen.map(([name]) => name)).toEqual(Array(8).fill(active))
      // On the active host it is one of its own addresses; the other host's clients come with one of theirs, except
      // where they call the forwarder by an address of their own.
      for (const [, source] of seen) expect([...hosts.old1, ...hosts.new1]).toContain(source)

      // A server that is bound to all addresses answers UDP of its own host's containers by the bridge's address,
      // with fleetmove and without.
      const there = host === active ? [] : targets([old4, new4], 7001)
      const inside = [...there, 'tcp', old4, '7001', 'tcp', new4, '7001']
      const answers = await lines(host, ['nsenter', '-n', '-t', containers.get(host)!, ...ask, ...inside])
      expect(answers.map((line) => line.split(' ')[0])).toEqual(answers.map(() => active))
      expect(answers).toHaveLength(inside.length / 3)
      // By the tunnel they come as their host, whose addresses are known there.
      if (host !== active) for (const line of answers) expect(line.split(' ')[1]).toBe(hosts[host][0])
    }
  }

  test('before the move: the old host answers everybody', async () => {
    await expectAll('old1')
    const local = [...ask, ...targets(['127.0.0.1', '::1'], 7001)]
    expect((await lines('old1', local)).map((line) => line.split(' ')[0])).toEqual(Array(4).fill('old1'))
  })

  describe('after the move', () => {
    beforeAll(() => practice.must('advance', '--all', '--json'))

    test('the new host answers everybody', () => expectAll('new1'))

    test('127.0.0.1 of the old host leads there with localhost: true, and only then; ::1 never', async () => {
      const seen = await lines('old1', [...ask, ...targets(['127.0.0.1', '::1'], 7001), 'tcp', '127.0.0.1', '7002'])
      expect(seen.map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual([
        `new1 ${old4}`,
        `new1 ${old4}`,
        'old1 ::1',
        'old1 ::1',
        'old1 127.0.0.1',
      ])
      // 127.0.0.1 of the new host is its own business.
      expect((await lines('new1', [...ask, 'tcp', '127.0.0.1', '7001']))[0]).toMatch(/^new1 127\.0\.0\.1 /)
    })

    test('nobody calls 127.0.0.1 by the tunnel', async () => {
      expect(await practice.shell('old1', 'sysctl -n net.ipv4.conf.fm1.route_localnet')).toBe('1\n')
      const watch = (priority: number): string =>
        `chain at${priority} { type filter hook prerouting priority -${priority}; iifname fm1 ip daddr 127.0.0.1 counter; };`
      await practice.shell('old1', `nft 'table ip watch { ${watch(301)} ${watch(299)} }'`)
      const own = /inet (169\.254\.\d+\.\d+)/.exec(await practice.shell('old1', 'ip -4 addr show fm1'))![1]!
      await practice.shell(
        'new1',
        `nft 'table ip forge { chain c { type filter hook postrouting priority 200; oifname fm1 tcp dport 7009 ip daddr set 127.0.0.1; }; }'`,
      )
      await practice.lab.exec('new1', [...ask, 'tcp', own, '7009'], { timeoutMs: 10_000 })
      const counted = await practice.shell('old1', 'nft list table ip watch')
      const [before, after] = [...counted.matchAll(/packets (\d+)/g)].map((match) => Number(match[1]))
      expect(before).toBeGreaterThan(0)
      expect(after).toBe(0)
      await practice.shell('new1', 'nft delete table ip forge')
      await practice.shell('old1', 'nft delete table ip watch')
    })
  })

  test('back again: the old host answers everybody', async () => {
    await practice.must('rollback', 'any', 'quiet', '--json')
    await expectAll('old1')
    expect((await lines('old1', [...ask, 'tcp', '127.0.0.1', '7001']))[0]).toMatch(/^old1 127\.0\.0\.1 /)
  })
})
