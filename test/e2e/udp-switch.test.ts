/** UDP flows that never pause, asked of servers that answer late: all of them move with the switch, and no datagram is lost. */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { Practice, until, withRoot } from './practice.js'

jest.setTimeout(300_000)

const [old4, old6] = ['203.0.113.10', '2001:db8:a::10']
const [new4, new6] = ['198.51.100.10', '2001:db8:b::10']
const fixture = (name: string): string => join(__dirname, 'fixtures', name)

const listen = ['udp/5000', { port: 'udp/5001', old: 5301, new: 5401 }, 'udp/88']
const fleet = {
  fleet: 'udp',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: {
    slow: {
      from: 'old1',
      to: 'new1',
      listen: listen.slice(0, 2),
      addresses: { [old4]: new4, [old6]: new6 },
      drain: '3s',
    },
    container: { from: 'old1', to: 'new1', listen: listen.slice(2), addresses: { [old4]: new4 }, drain: '3s' },
  },
}
const targets = [
  ...[old4, new4, old6, new6].flatMap((address) => [5000, 5001].map((port) => `${address}:${port}`)),
  `${old4}:88`,
  `${new4}:88`,
]

interface Flow {
  target: string
  sent: number
  lost: number
  last: string
  strangers: number
}

withRoot('UDP at a switch', () => {
  let practice: Practice
  let client: ChildProcess
  let said = ''

  beforeAll(async () => {
    practice = await Practice.start('udp')
    for (const [host, port] of [
      ['old1', '5301'],
      ['new1', '5401'],
    ] as const) {
      const addresses = host === 'old1' ? [old4, old6] : [new4, new6]
      const binds = ['0.0.0.0', '5000', ...addresses.flatMap((address) => [address, port])]
      // IPv6 to a wildcard that doesn't take IPv4 would need an option; a bound one does as well.
      binds.push(addresses[1]!, '5000')
      await practice.ready(practice.spawn(host, ['perl', fixture('slow.pl'), host, ...binds]))
      await practice.container(host, ['udp'], ['perl', fixture('slow.pl'), host, '0.0.0.0', '8080'])
    }
    await practice.fleet(fleet)
    await practice.must('up', '--json')
    client = practice.spawn('client1', ['node', fixture('flows.mjs'), '200', ...targets])
    client.stdout?.on('data', (chunk: Buffer) => {
      said += chunk
    })
    await practice.ready(client)
  })
  afterAll(() => practice?.end())

  /** What the flows have seen until now. */
  async function flows(end = false): Promise<Flow[]> {
    said = ''
    if (end) client.stdin?.end()
    else client.stdin?.write('?\n')
    await until('the report', async () => said.endsWith('\n'))
    return JSON.parse(said) as Flow[]
  }
  const answeredBy = async (): Promise<Record<string, number>> => {
    const counts: Record<string, number> = {}
    for (const { last } of await flows()) counts[last] = (counts[last] ?? 0) + 1
    return counts
  }

  test('200 flows move there and back, by both addresses, families and a container', async () => {
    expect(await answeredBy()).toEqual({ old1: 200 })
    await practice.must('advance', '--all', '--json')
    expect(await answeredBy()).toEqual({ new1: 200 })
    await practice.must('rollback', 'slow', 'container', '--json')
    expect(await answeredBy()).toEqual({ old1: 200 })
    await practice.must('advance', '--all', '--json')
    expect(await answeredBy()).toEqual({ new1: 200 })
  })

  test('no datagram is lost', async () => {
    const seen = await flows(true)
    const sent = seen.reduce((sum, flow) => sum + flow.sent, 0)
    const lost = seen.filter((flow) => flow.lost > 0 || flow.strangers > 0)
    process.stderr.write(
      `measured: ${sent} datagrams of 200 flows, ${lost.reduce((sum, flow) => sum + flow.lost, 0)} lost\n`,
    )
    expect(lost).toEqual([])
  })
})
