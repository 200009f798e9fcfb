/** `address: move`: between two hosts of one segment the old address itself goes over, and back, under load. */
import { answeredBy, complaints } from '../load/client-load.js'
import { whenLong } from './long.js'
import { Practice, until, withRoot } from './practice.js'

jest.setTimeout(180_000)

const [old4, old6] = ['203.0.113.11', '2001:db8:a::11']
const [new4, new6] = ['203.0.113.20', '2001:db8:a::20']
const fleet = {
  fleet: 'segment',
  hosts: {
    old1: { ssh: 'root@203.0.113.10', addresses: ['203.0.113.10', old4, '2001:db8:a::10', old6] },
    old2: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: {
    web: {
      from: 'old1',
      to: 'old2',
      listen: ['tcp/80'],
      addresses: { [old4]: new4, [old6]: new6 },
      address: 'move',
      drain: '5s',
    },
  },
  vantages: { client1: { ssh: 'root@198.18.0.11' } },
}

withRoot('an address that moves', () => {
  let practice: Practice
  beforeAll(async () => {
    practice = await Practice.start('address')
    await practice.fleet(fleet)
    await practice.must('up', '--json')
  })
  afterAll(() => practice?.end())

  /** Whom the router of the segment takes for the address's host. */
  async function neighbours(): Promise<string[]> {
    const hosts = await Promise.all(
      ['old1', 'old2'].map(async (host) => [
        host,
        (await practice.shell(host, 'cat /sys/class/net/eth0/address')).trim(),
      ]),
    )
    return Promise.all(
      [old4, old6].map(async (address) => {
        const seen = await practice.shell('router', `ip neigh show ${address}`)
        return hosts.find(([, hardware]) => seen.includes(hardware!))?.[0] ?? seen
      }),
    )
  }
  const holders = async (): Promise<string[]> => {
    const lines = await Promise.all(
      ['old1', 'old2'].map(async (host) => [host, await practice.shell(host, 'ip -o addr show dev eth0')] as const),
    )
    return [old4, old6].map((address) =>
      lines.flatMap(([host, text]) => (text.includes(` ${address}/`) ? [host] : [])).join(),
    )
  }
  const page = async (address: string): Promise<string> =>
    (await practice.shell('client1', `curl -sS --max-time 10 http://${address}/`)).split(' ')[0] ?? ''
  const drift = async (): Promise<unknown> => (await practice.expect('status')).events[0]?.drift

  // Under other load a few IPv6 connections have failed at the takeover: not yet understood, so not yet promised.
  const whole = whenLong(test, 'an address there and back under load')
  whole('there and back: no connection fails, and none that stands is lost', async () => {
    const before = await practice.load('client1', {
      ...{ targets: [old4, old6, new4, new6], perSecond: 20 },
      ...{ keepAlive: 2, downloads: 1 },
    })
    const { events } = await practice.expect('advance --all')
    expect(events.at(-1)).toMatchObject({ services: [{ service: 'web', active: 'old2', addresses: [old4, old6] }] })
    expect(await holders()).toEqual(['old2', 'old2'])
    expect(await neighbours()).toEqual(['old2', 'old2'])
    expect(await drift()).toEqual([])
    // Its long ones were opened straight to the new host by the old address.
    const after = await practice.load('client2', { targets: [old4, old6], perSecond: 20, keepAlive: 2 })
    const back = practice.run('rollback web')
    await until('the address back on old1', async () => (await holders()).every((host) => host === 'old1'))
    await until('the router knows', async () => (await neighbours()).every((host) => host === 'old1'))
    after.endLong()
    const ended = await back
    expect({ code: ended.code, said: ended.code === 0 ? '' : ended.stderr }).toEqual({ code: 0, said: '' })
    before.endLong()
    const reports = [...(await before.stop()), ...(await after.stop())]
    const hosts = answeredBy(reports)
    const longest = Math.max(...reports.map((report) => report.longest))
    process.stderr.write(`measured: ${JSON.stringify(hosts)} connections, the longest connect ${longest} ms\n`)
    expect(complaints(reports)).toEqual([])
    expect(Object.keys(hosts).sort()).toEqual(['old1', 'old2'])
  })

  test('what the new host does not answer is given back at once', async () => {
    await practice.shell(
      'old2',
      `nft add table ip stranger
       nft 'add chain ip stranger c { type filter hook prerouting priority -400; }'
       nft add rule ip stranger c ip daddr ${old4} tcp dport 80 drop`,
    )
    const failed = await practice.run('advance --all')
    expect(failed.code).toBe(3)
    expect(failed.stderr).toContain(`${old4}, ${old6} stays on old1`)
    expect(await holders()).toEqual(['old1', 'old1'])
    await until('the router knows', async () => (await neighbours()).every((host) => host === 'old1'))
    expect(await page(old4)).toBe('old2')
    await practice.shell('old2', 'nft delete table ip stranger')
    await practice.expect('advance --all')
    expect(await holders()).toEqual(['old2', 'old2'])
  })

  test('after finalize it stays on the new host, and the operator is told what to write down', async () => {
    const ended = await practice.must('finalize', '--force')
    expect(ended.stdout).toContain(`ip address add ${old4}/32 dev eth0`)
    expect(await holders()).toEqual(['old2', 'old2'])
    for (const host of ['old1', 'old2']) {
      expect(await practice.shell(host, 'nft list tables')).not.toContain('fleetmove')
      expect(await practice.shell(host, 'ip -o addr show dev lo')).not.toContain(old4)
    }
    for (const address of [old4, `[${old6}]`]) expect(await page(address)).toBe('old2')
  })
})
