/** The path between the two hosts is cut for a while: who notices, what is told, and what new clients get. */
import type { Load } from '../load/client-load.js'
import { complaints } from '../load/client-load.js'
import { shortened, whenLong } from './long.js'
import { addressesOf, endPractices, type Practice, startPractice, until, withRoot } from './practice.js'

jest.setTimeout(90_000)
afterAll(endPractices)

const [old4, new4, new6] = ['203.0.113.10', '198.51.100.10', '2001:db8:b::10']

interface Tunnel {
  up: boolean
  detail: string
  downForMs: number | null
  unanswered: number
  driver: string
}

const tunnelOf = async (practice: Practice): Promise<Tunnel> =>
  ((await practice.expect('status')).events[0] as unknown as { tunnels: Tunnel[] }).tunnels[0]!

/** Only the tunnel's own packets: clients and SSH go by the same router. */
const cut = (practice: Practice): Promise<string> =>
  practice.shell(
    'router',
    `nft add table inet broken && nft 'add chain inet broken forward { type filter hook forward priority -10; }' && nft add rule inet broken forward udp dport 51820 drop`,
  )
const heal = (practice: Practice): Promise<string> => practice.shell('router', 'nft delete table inet broken')

const silent = (practice: Practice): Promise<void> =>
  until('the tunnel to be known as silent', async () => {
    const { up, downForMs, detail } = await tunnelOf(practice)
    return !up && downForMs !== null && downForMs >= 3000 && /is silent/.test(detail)
  })

const toNew = { protocol: 'tcp', address: new4, port: 7001, timeoutMs: 25_000 } as const

const drivers = shortened(['wireguard', 'openvpn'], ['wireguard'], 'drivers')

describe.each(drivers)('driver %s', (driver) => {
  withRoot('a tunnel that is cut', () => {
    let practice: Practice
    let load: Load
    const fleet = (tunnel: object, addresses: string[] = addressesOf('old1')): Promise<void> =>
      practice.fleet({
        fleet: 'breaks',
        hosts: {
          old1: { ssh: `root@${old4}`, addresses },
          new1: { ssh: `root@${new4}`, addresses: addressesOf('new1') },
        },
        tunnel: { driver, ...tunnel },
        services: { echo: { from: 'old1', to: 'new1', listen: ['tcp/7001', 'udp/7001', 'tcp/80'] } },
      })

    beforeAll(async () => {
      practice = await startPractice(`breaks-${driver}-${process.pid}`)
      await practice.serve('old1', 'old1', ['tcp 0.0.0.0 7001', 'tcp 2001:db8:a::10 7001', 'udp 0.0.0.0 7001'])
      await practice.remember()
      await fleet({})
      await practice.expect('up')
      load = await practice.load('client1', { targets: addressesOf('old1'), perSecond: 20 })
    })
    afterAll(() => practice.end())

    test('hold: it is told since when and why, openings wait, and what stood goes on', async () => {
      const end = await practice.hold('client2', [`${new4}:7001`])
      await cut(practice)
      await silent(practice)
      // Sent while nothing passes, and answered when it passes again.
      const waiting = practice.ask('client2', [toNew])
      await until('an opening to meet the silence', async () => (await tunnelOf(practice)).unanswered > 0)
      await heal(practice)
      const healed = Date.now()
      expect(await waiting).toEqual([expect.objectContaining({ host: 'old1', source: '198.18.0.12' })])
      await until('the tunnel', async () => (await tunnelOf(practice)).up)
      console.info(`measured: ${driver}: up and told so ${Date.now() - healed} ms after the cut`)
      expect(await tunnelOf(practice)).toMatchObject({ downForMs: null, detail: '' })
      const [held] = await end()
      expect(held).toMatchObject({ error: '' })
      expect(held!.back).toBeGreaterThanOrEqual(held!.said - 1)
      console.info(`measured: ${driver}: an established connection stood still for ${Math.round(held!.longestMs)} ms`)
    })

    test('reset: new clients are refused at once, and served when it is back', async () => {
      const end = await practice.hold('client2', [`${new4}:7001`])
      await fleet({ unreachable: 'reset' })
      await practice.expect('up')
      await cut(practice)
      await silent(practice)
      const begun = Date.now()
      const [tcp4, tcp6] = await practice.ask('client2', [toNew, { ...toNew, address: new6 }])
      console.info(
        `measured: ${driver}: two connections refused within ${Date.now() - begun} ms, with the client's start`,
      )
      expect([tcp4!.error, tcp6!.error]).toEqual(['ECONNREFUSED', 'ECONNREFUSED'])
      // The second word of a connected socket hears what became of the first.
      const udp = `exec 3<>/dev/udp/${new4}/7001; echo one >&3; sleep 0.5; echo two >&3`
      await expect(practice.shell('client2', udp)).rejects.toThrow('Connection refused')
      const { unanswered } = await tunnelOf(practice)
      expect(unanswered).toBeGreaterThanOrEqual(3)
      await heal(practice)
      await until('clients to be served again', async () => !(await practice.ask('client2', [toNew]))[0]!.error)
      expect(await end()).toEqual([expect.objectContaining({ error: '' })])
    })

    const long = whenLong(test, 'an old host that gets another address')
    long('the old host gets another address: up follows, and what stood goes on', async () => {
      const end = await practice.hold('client2', [`${new4}:7001`])
      const route = 'ip route replace default via 203.0.113.1 dev eth0'
      await practice.shell('old1', `${route} src 203.0.113.11`)
      await practice.shell(
        'router',
        `nft add table inet broken && nft 'add chain inet broken forward { type filter hook forward priority -10; }' && nft add rule inet broken forward udp dport 51820 ip daddr ${old4} drop && nft add rule inet broken forward udp dport 51820 ip saddr ${old4} drop`,
      )
      // OpenVPN may have followed already, since its peer takes packets from everywhere that authenticate.
      await fleet({}, ['203.0.113.11', addressesOf('old1')[1]!])
      await practice.expect('up')
      expect(await tunnelOf(practice)).toMatchObject({ up: true })
      expect(await practice.ask('client2', [toNew])).toEqual([expect.objectContaining({ host: 'old1' })])
      await heal(practice)
      await practice.shell('old1', route)
      expect(await end()).toEqual([expect.objectContaining({ error: '' })])
    })

    test('clients of the active host itself have noticed nothing, and nothing is left', async () => {
      expect(complaints(await load.stop())).toEqual([])
      await practice.expect('down')
      expect(await practice.leftovers()).toEqual([])
    })
  })
})
