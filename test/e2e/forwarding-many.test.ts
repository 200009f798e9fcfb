/** 2,000 listeners cost a packet no more than one: a look-up in one map. */
import { Practice, withRoot } from './practice.js'

jest.setTimeout(300_000)

const old4 = '203.0.113.10'
const old6 = '2001:db8:a::10'
const new4 = '198.51.100.10'
const new6 = '2001:db8:b::10'
const first = 20_000
const last = 21_999
const ports = Array.from({ length: last - first + 1 }, (_, i) => first + i)

const fleet = (listen: string[]) => ({
  fleet: 'many',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: { many: { from: 'old1', to: 'new1', listen, drain: '1s' } },
})

const nginx = `worker_processes 1;
worker_rlimit_nofile 16384;
pid /run/many.pid;
error_log /dev/null;
events { worker_connections 8192; }
http {
  access_log off;
  server { listen 0.0.0.0:${first}-${last}; listen [::]:${first}-${last}; location / { return 200 "$hostname $remote_addr\\n"; } }
}
`

withRoot('2,000 listeners', () => {
  let practice: Practice

  beforeAll(async () => {
    practice = await Practice.start('many')
    for (const host of ['old1', 'new1']) {
      await practice.lab.exec(host, ['tee', '/root/many.conf'], { input: nginx })
      await practice.shell(host, 'nginx -c /root/many.conf')
    }
  })
  afterAll(() => practice?.end())

  /** The rules of the table without its elements, the names of chains and counters apart. */
  const rules = async (host: string): Promise<string[]> =>
    (await practice.shell(host, 'nft -s list table inet fleetmove'))
      .replace(/elements = \{[^}]*\}/g, '')
      .split('\n')
      .filter((line) => !line.includes('fleetmove:'))
  const elements = async (host: string): Promise<number> =>
    (await practice.shell(host, 'nft list map inet fleetmove open4')).split(' goto ').length - 1

  const ways: [string, string[]][] = [
    ['one by one', ports.map((port) => `tcp/${port}`)],
    ['as a range', [`tcp/${first}-${last}`]],
  ]
  test.each(ways)('%s: the same rules as for a single one, and all of them answer', async (_way, listen) => {
    await practice.fleet(fleet([`tcp/${first}`]))
    await practice.must('up')
    const single = { old: await rules('old1'), new: await rules('new1'), elements: await elements('new1') }
    await practice.must('down')

    await practice.fleet(fleet(listen))
    const up = await practice.must('up')
    expect(await elements('new1')).toBe(single.elements + ports.length - 1)
    expect(await rules('new1')).toEqual(single.new)
    expect(await rules('old1')).toEqual(single.old)

    const urls = [first, 20_999, last].flatMap((port) =>
      [old4, new4, `[${old6}]`, `[${new6}]`].map((address) => `http://${address}:${port}/`),
    )
    const answers = async (): Promise<string[]> =>
      [...new Set((await practice.shell('client1', `curl -sS -m 5 ${urls.join(' ')}`)).trim().split('\n'))].sort()
    const seen = (host: string) => [`${host} 198.18.0.11`, `${host} 2001:db8:c::11`]
    expect(await answers()).toEqual(seen('old1'))
    const advance = await practice.must('advance', '--all')
    expect(await answers()).toEqual(seen('new1'))
    console.log(`${listen.length} listeners: up ${up.ms.toFixed(0)} ms, advance ${advance.ms.toFixed(0)} ms`)
    await practice.must('down')
  })
})
