/** A growing share of clients to the new host: true by every address, back at once from a bad one, and UDP flows move once. */
import { join } from 'node:path'
import { type Opening, openAgainAndAgain } from './openings.js'
import { Practice, until, withRoot } from './practice.js'

jest.setTimeout(300_000)

const [old4, old6] = ['203.0.113.10', '2001:db8:a::10']
const [new4, new6] = ['198.51.100.10', '2001:db8:b::10']
const addresses = [old4, new4, old6, new6]
const fixture = (name: string): string => join(__dirname, 'fixtures', name)
const fleet = {
  fleet: 'canary',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  // The servers run on both sides all the time: what is tried here is who reaches which.
  services: {
    app: { from: 'old1', to: 'new1', listen: ['tcp/7001'], drain: '1s', health: { command: 'true' } },
    bad: { from: 'old1', to: 'new1', listen: ['tcp/7002'], drain: '1s', health: { command: 'true' } },
    talk: { from: 'old1', to: 'new1', listen: ['udp/5000'], drain: '1s', health: { command: 'true' } },
  },
}
interface Flow {
  last: string
  lost: number
  answered: Record<string, { first: number; last: number }>
}

/** As many clients by each family. */
const crowd = 60
const clients = Array.from({ length: crowd }, (_, i) => [
  `198.18.0.${100 + i}`,
  `2001:db8:c::${(0x100 + i).toString(16)}`,
])

withRoot('canary', () => {
  let practice: Practice

  beforeAll(async () => {
    practice = await Practice.start('canary')
    await practice.shell(
      'client1',
      clients.map(([v4, v6]) => `ip addr add ${v4}/24 dev eth0; ip addr add ${v6}/64 dev eth0 nodad`).join('\n'),
    )
    for (const host of ['old1', 'new1']) {
      const binds = ['tcp :: 7001', ...(host === 'old1' ? ['tcp :: 7002'] : [])]
      await practice.serve(host, host, binds)
      const ips = host === 'old1' ? [old4, old6] : [new4, new6]
      await practice.ready(
        practice.spawn(host, ['perl', fixture('slow.pl'), host, ...ips.flatMap((ip) => [ip, '5000'])]),
      )
    }
    await practice.ready(practice.spawn('new1', ['perl', fixture('rude.pl'), '::', '7002']))
    await practice.fleet(fleet)
    await practice.must('up', '--json')
  })
  afterAll(() => practice?.end())

  const crowdCalls = (port: number) =>
    openAgainAndAgain(practice, 'client1', {
      targets: addresses.map((address) => `${address}:${port}`),
      ...{ perSecond: 50, hear: 20, sources: clients.flat() },
    })
  const hostOf = ({ heard }: Opening): string => heard.split(' ')[0]!

  test('5, then 25, then all of them: each client on one side whatever address it uses, and nobody fails', async () => {
    const stop = await crowdCalls(7001)
    const ends: number[] = []
    const bakeMs = 4000
    await practice.expect(`advance app --canary 5,25,100 --bake ${bakeMs}ms`, 0, {
      onEvent: ({ type, what }) => {
        if (type === 'end' && String(what).startsWith('canary')) ends.push(Date.now())
      },
    })
    const reports = await stop()
    expect(reports.flatMap(({ failed }) => failed)).toEqual([])
    const all = reports.flatMap(({ openings }) => openings!)
    expect(new Set(all.slice(-20).map(hostOf))).toEqual(new Set(['new1']))
    // The second half of each step's time, when it surely stands.
    const steps = ends.map((end) => all.filter(({ at }) => at > end - bakeMs / 2 && at < end - 100))
    const onNew = steps.map((openings) => {
      const hosts = new Map<string, Set<string>>()
      for (const opening of openings)
        hosts.set(opening.from, (hosts.get(opening.from) ?? new Set()).add(hostOf(opening)))
      expect([...hosts].filter(([, answered]) => answered.size !== 1)).toEqual([])
      expect(hosts.size).toBe(2 * crowd)
      return [...hosts].filter(([, answered]) => answered.has('new1')).map(([from]) => from)
    })
    const share = (found: readonly string[], six: boolean): number =>
      found.filter((from) => from.includes(':') === six).length / crowd
    process.stderr.write(
      `measured: canary of ${2 * crowd} clients: ${onNew.map((found) => `${(share(found, false) * 100).toFixed(0)} % of IPv4, ${(share(found, true) * 100).toFixed(0)} % of IPv6`).join('; ')}\n`,
    )
    for (const six of [false, true]) {
      expect(share(onNew[0]!, six)).toBeLessThan(0.15)
      expect(share(onNew[1]!, six)).toBeGreaterThan(0.1)
      expect(share(onNew[1]!, six)).toBeLessThan(0.4)
    }
    // Who has gone over stays over.
    expect(onNew[0]!.filter((from) => !onNew[1]!.includes(from))).toEqual([])
    expect(onNew[0]!.length).toBeGreaterThan(0)
  })

  test('a new host that breaks its connections gets nobody any more: exit 3, and all are on the old one', async () => {
    const stop = await crowdCalls(7002)
    const { stderr } = await practice.expect('advance bad --canary 25,100 --bake 20s', 3)
    expect(stderr).toMatch(/the canary does worse: .* connections on the new host were reset/)
    const from = Date.now()
    await until('calls after it', async () => Date.now() > from + 1000)
    const after = (await stop()).flatMap(({ openings }) => openings!).filter(({ at }) => at > from)
    expect(after.length).toBeGreaterThan(crowd)
    expect(new Set(after.map((opening) => `${opening.error}${hostOf(opening)}`))).toEqual(new Set(['old1']))
    const { events } = await practice.expect('status bad')
    expect(events[0]).toMatchObject({ services: [{ stage: 'forwarding', active: 'old1' }] })
  })

  test('named clients first, by UDP in the middle of a conversation: each flow moves once; status tells of it', async () => {
    const talks = await Promise.all(
      ['client1', 'client2'].map(async (client) => {
        const child = practice.spawn(client, [
          'node',
          fixture('flows.mjs'),
          '20',
          ...addresses.map((ip) => `${ip}:5000`),
        ])
        let said = ''
        child.stdout?.on('data', (chunk: Buffer) => {
          said += chunk
        })
        await practice.ready(child)
        return async (end: boolean): Promise<Flow[]> => {
          said = ''
          if (end) child.stdin?.end()
          else child.stdin?.write('?\n')
          await until('the report', () => said.endsWith('\n'))
          return JSON.parse(said)
        }
      }),
    )
    const running = practice.start('advance talk --only 198.18.0.12,2001:db8:c::12 --bake 8s')
    const lasts = async (i: number): Promise<string[]> => [...new Set((await talks[i]!(false)).map(({ last }) => last))]
    await until('the named client on the new host', async () => (await lasts(1)).join() === 'new1')
    expect(await lasts(0)).toEqual(['old1'])
    const { events } = await practice.expect('status talk')
    const prefixes = ['198.18.0.12/32', '2001:db8:c::12/128']
    expect(events[0]).toMatchObject({ services: [{ stage: 'moving', canary: { percent: 0, prefixes } }] })
    expect((await running.ended).code).toBe(0)
    for (const talk of talks) {
      for (const { answered, lost } of await talk(true)) {
        expect({ lost, by: Object.keys(answered).sort() }).toEqual({ lost: 0, by: ['new1', 'old1'] })
        // By the datagrams' own order: what went to the old host went before all that went to the new one.
        expect(answered.old1!.last).toBeLessThan(answered.new1!.first)
      }
    }
  })
})
