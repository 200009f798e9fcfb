/** An HAProxy in front of both hosts: advance makes it leave the old one by itself, and no request fails. */
import { spawnSync } from 'node:child_process'
import { Practice, until, withRoot } from './practice.js'

jest.setTimeout(300_000)

const [old4, new4] = ['203.0.113.10', '198.51.100.10']
const installed = spawnSync('sh', ['-c', 'command -v haproxy']).status === 0
if (!installed) process.stderr.write('skipped: behind a balancer: haproxy is not installed\n')

const fleet = {
  fleet: 'balanced',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4] },
    new1: { ssh: `root@${new4}`, addresses: [new4] },
  },
  services: { app: { from: 'old1', to: 'new1', listen: ['tcp/7001'], check: 'tcp/7081', drain: '20s' } },
}

;(installed ? withRoot : describe.skip)('behind a balancer', () => {
  let practice: Practice

  beforeAll(async () => {
    practice = await Practice.start('balancer')
    for (const host of ['old1', 'new1']) await practice.serve(host, host, ['tcp :: 7001', 'tcp :: 7081'])
    await practice.shell(
      'client2',
      `mkdir -p /run/balancer && cat >/run/balancer/conf <<'END'
global
  stats socket /run/balancer/socket
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen app
  bind :8000
  balance roundrobin
  server old1 ${old4}:7001 check port 7081 inter 500 fall 2 rise 2
  server new1 ${new4}:7001 check port 7081 inter 500 fall 2 rise 2
END`,
    )
    practice.spawn('client2', ['haproxy', '-db', '-f', '/run/balancer/conf'])
    await practice.fleet(fleet)
    await practice.must('up', '--json')
    await until('the balancer', async () => (await practice.shell('client2', 'ss -Hltn sport = 8000')) !== '')
  })
  afterAll(() => practice?.end())

  test('it leaves the old host before the switch, and no request fails', async () => {
    let asking = true
    const failed: unknown[] = []
    let answered = 0
    const load = (async () => {
      while (asking) {
        const calls = Array.from({ length: 20 }, () => ({
          protocol: 'tcp' as const,
          address: '198.18.0.12',
          port: 8000,
          bytes: 64,
        }))
        for (const answer of await practice.ask('client1', calls)) {
          if (answer.echoed) answered += 1
          else failed.push(answer)
        }
      }
    })()
    const refused: string[] = []
    const watch = (async () => {
      while (asking) {
        refused.push(await practice.shell('old1', 'nft list chain inet fleetmove dark'))
        await new Promise((resolve) => setTimeout(resolve, 500))
      }
    })()
    const { stderr } = await practice.must('advance', '--all')
    asking = false
    await Promise.all([load, watch])
    process.stderr.write(`measured: ${answered} requests by the balancer, ${failed.length} failed\n`)
    expect(failed).toEqual([])
    expect(answered).toBeGreaterThan(100)
    expect(refused.some((text) => text.includes(`ip daddr ${old4} tcp dport 7081 reject`))).toBe(true)
    expect(stderr).toMatch(/no new connections for 6 s/)
    // And afterwards it is as it was.
    expect(await practice.shell('old1', 'nft list chain inet fleetmove dark')).not.toContain('reject')
  })
})
