/** Redis with its data, moved there and back while clients write: what it has acknowledged is there, nobody is refused. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cutOff, leftOf } from './cut-off.js'
import { type Event, Practice, withRoot } from './practice.js'

jest.setTimeout(900_000)

const [old4, old6] = ['203.0.113.10', '2001:db8:a::10']
const [new4, new6] = ['198.51.100.10', '2001:db8:b::10']
const client1 = ['198.18.0.11', '2001:db8:c::11']
const installed = existsSync('/usr/bin/redis-server')
if (!installed) process.stderr.write('skipped: Redis: redis-server is not installed\n')

const home = '/srv/redis'
const ask = 'redis-cli -h 127.0.0.1'
const fleet = {
  fleet: 'cache',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: {
    redis: {
      ...{ from: 'old1', to: 'new1', listen: ['tcp/6379'], strategy: 'recreate', hold: '120s', drain: '5s' },
      run: {
        start: `redis-server ${home}/redis.conf`,
        // It ends when what it holds is on the disk; the connection ends with it.
        stop: `${ask} shutdown save; while ${ask} ping >/dev/null 2>&1; do sleep 0.05; done`,
      },
      data: [home],
      health: { command: `${ask} ping | grep -q PONG` },
    },
  },
}

interface Report {
  acknowledged: number
  failed: { address: string; error: string }[]
  lost: string[]
}
;(installed ? withRoot : describe.skip)('Redis', () => {
  let practice: Practice

  beforeAll(async () => {
    practice = await Practice.start('redis')
    await practice.shell(
      'old1',
      `mkdir -p ${home}
       cat >${home}/redis.conf <<'END'
bind * -::*
protected-mode no
daemonize yes
dir ${home}
appendonly yes
appendfsync everysec
END
       ${fleet.services.redis.run.start}`,
    )
    await practice.fleet(fleet)
    await practice.must('up', '--json')
  })
  afterAll(() => practice?.end())

  test('there and back with its data: nothing that was acknowledged is lost, nobody is refused', async () => {
    const program = join(__dirname, 'fixtures', 'redis-load.mjs')
    const load = practice.spawn('client1', ['node', program, '40', old4, new4, old6, new6])
    let said = ''
    load.stdout?.on('data', (chunk: Buffer) => {
      said += chunk
    })
    await practice.ready(load)
    const moves: (readonly Event[])[] = []
    for (const command of ['advance', 'rollback'])
      moves.push((await practice.must(command, 'redis', '--confirm-timeout', '10m', '--json')).events)
    const report = await new Promise<Report>((resolve) => {
      load.once('close', () => resolve(JSON.parse(said.slice(said.indexOf('ready\n') + 6)) as Report))
      load.stdin?.end()
    })
    const waited = moves.map((events) => {
      const [moved] = events.at(-1)!.services as { switchMs: number }[]
      return Math.round(moved!.switchMs)
    })
    process.stderr.write(
      `measured: Redis: ${report.acknowledged} writes acknowledged, ${report.lost.length} lost, ${report.failed.length} cut off or failed; nobody answered for ${waited.join(', ')} ms\n`,
    )
    expect(report.lost).toEqual([])
    expect(report.acknowledged).toBeGreaterThan(0)
    // Who was in the middle of something when the drain's time was over is cut off, and was counted.
    expect(report.failed.filter(({ error }) => !cutOff.test(error))).toEqual([])
    const counted = moves.flatMap((events) => client1.map((address) => leftOf(events).get(address) ?? 0))
    expect(report.failed.length).toBeLessThanOrEqual(counted.reduce((sum, count) => sum + count, 0))
    // It is the old host's again, and the new one's is stopped.
    expect(await practice.shell('new1', 'pgrep -x redis-server || echo none')).toBe('none\n')
  })
})
