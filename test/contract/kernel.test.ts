import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Kernel } from '../../agent/kernel/kernel.js'
import { linuxKernel } from '../../agent/kernel/linux.js'
import { mostElements } from '../../agent/kernel/nft-elements.js'
import type { Step } from '../../agent/kernel/step.js'
import type { ProcessSpec, RouteSpec, RuleSpec, VxlanLink, WireguardLink } from '../../agent/plan/desired.js'
import { processFingerprint } from '../../agent/plan/difference.js'
import type { Element } from '../../agent/plan/elements.js'
import { iptablesWords } from '../../agent/plan/firewall/allow.js'
import type { ForeignChain } from '../../agent/plan/firewall/chain.js'
import { declareOverrides, noOverrides, type OverrideMap, overrideMaps } from '../../agent/plan/overrides.js'
import { wireguardGo } from '../../agent/tunnel/wireguard-go.js'
import type { Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import { FakeKernel } from '../fakes/fake-kernel.js'
import { inOwnNamespace, isInOwnNamespace, saySkipped } from '../kernel/netns.js'

const ip = (text: string): Ip => text as Ip

const ours: RouteSpec = { family: 4, table: 5181, kind: 'unicast', device: 'fm1', via: ip('10.90.0.2'), metric: 10 }
const ours6: RouteSpec = { ...ours, family: 6, via: ip('fd90::2') }
const blackhole: RouteSpec = { ...ours, kind: 'blackhole', device: null, via: null, metric: 1000 }
const blackhole6: RouteSpec = { ...blackhole, family: 6 }
const rule: RuleSpec = { family: 4, priority: 5180, mark: 0xfe000000, mask: 0xfe000000, table: 5181 }
const rule6: RuleSpec = { ...rule, family: 6, mark: 0x02000000 }
const address = { device: 'fm1', ip: ip('10.90.0.1'), prefix: 30 }
const address6 = { device: 'fm1', ip: ip('fd90::1'), prefix: 126 }
const vxlan: VxlanLink = {
  ...{ kind: 'vxlan', name: 'fm2', mac: '02:fd:0a:5a:00:01', mtu: 1370, vni: 5182, port: 5180, under: 'fm1' },
  ...{ local: ip('10.90.0.1'), remote: ip('10.90.0.2') },
}
const vxlan6: VxlanLink = { ...vxlan, local: ip('fe80::1:1'), remote: ip('fe80::1:2') }
const wireguard: WireguardLink = {
  ...{ kind: 'wireguard', name: 'fmw1', mtu: 1440, userspace: true, listenPort: 51820 },
  peer: {
    publicKey: 'HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=',
    endpoint: { address: ip('198.51.100.20'), port: 51820 },
    allowedIps: ['0.0.0.0/0', '::/0'],
  },
}
const sleeper: ProcessSpec = { name: 'sleeper', argv: ['sleep', '1000'], env: { ONE: '1' }, config: null }

/** The first of them bears the fingerprint. */
const rulesOf = (chains: string[]): Record<string, number> =>
  Object.fromEntries(chains.map((name, i) => [name, i === 0 ? 1 : 0]))

const overrides = { override4: ['203.0.113.10 . tcp . 80 : drop'], override6: [], 'override-localhost': [] }

const ruleset = (fingerprint: string, chains: string[], counters: string[], more = ''): Step => ({
  do: 'load-ruleset',
  hooks: true,
  ...{ fingerprint, chains, counters, rules: rulesOf(chains), elements: { open4: 2, open6: 0, localhost: 0 } },
  overrides,
  text: [
    'add table inet fleetmove',
    ...chains.map((name) => `add chain inet fleetmove ${name}`),
    ...counters.map((name) => `add counter inet fleetmove ${name}`),
    ...chains.map((name) => `flush chain inet fleetmove ${name}`),
    `add rule inet fleetmove ${chains[0]} accept comment "fleetmove:${fingerprint}"`,
    'add map inet fleetmove open4 { type ipv4_addr . inet_proto . inet_service : verdict; }',
    'add element inet fleetmove open4 { 203.0.113.10 . tcp . 80 : drop, 203.0.113.10 . udp . 53 : drop }',
    ...declareOverrides,
    ...overrideMaps.map((map) => `flush map inet fleetmove ${map}`),
    'add element inet fleetmove override4 { 203.0.113.10 . tcp . 80 : drop }',
    more,
    '',
  ].join('\n'),
})

interface Subject {
  kernel: Kernel
  /** Whether the kernel itself has WireGuard. */
  wireguard: boolean
  /** Somebody else's firewall, which drops what is forwarded: a chain of iptables, and one of nftables. */
  raiseFirewall(): void
  close(): void
}

/** What the agent may rely on, whichever kernel it talks to. */
function contract(name: string, make: () => Subject): void {
  describe(name, () => {
    let subject: Subject
    let kernel: Kernel
    beforeAll(() => {
      subject = make()
      kernel = subject.kernel
    })
    afterEach(async () => {
      const { processes, links } = await kernel.observe([])
      for (const process of Object.keys(processes)) await kernel.perform({ do: 'stop-process', name: process })
      for (const link of links) {
        if (link.name !== 'lo') await kernel.perform({ do: 'delete-link', name: link.name })
      }
      const { rules, routes } = await kernel.observe([])
      for (const found of rules) await kernel.perform({ do: 'delete-rule', rule: found })
      for (const found of routes) await kernel.perform({ do: 'delete-route', route: found })
      await kernel.perform({ do: 'delete-table' })
    })
    afterAll(() => subject.close())

    const perform = async (...steps: Step[]): Promise<void> => {
      for (const step of steps) await kernel.perform(step)
    }
    /** A step that is taken twice must succeed twice. */
    const twice = async (...steps: Step[]): Promise<void> => {
      for (const step of steps) await perform(step, step)
    }
    const failureOf = async (step: Step): Promise<FleetmoveError> => {
      const error = await kernel.perform(step).then(
        () => null,
        (caught: unknown) => caught,
      )
      expect(error).toBeInstanceOf(FleetmoveError)
      return error as FleetmoveError
    }
    const tap = async (device = 'fm1'): Promise<void> => {
      await twice({ do: 'add-link', link: { kind: 'tap', name: device, mac: '02:fd:0a:5a:00:01', mtu: 1400 } })
      await twice({ do: 'set-link', name: device, mtu: 1400, up: true })
    }
    /** Link-local addresses come by themselves where a device with a hardware address goes up. */
    const addressesOf = async (device: string): Promise<string[]> =>
      (await kernel.observe([])).addresses
        .filter((found) => found.device === device && !found.ip.startsWith('fe80:'))
        .map((found) => `${found.ip}/${found.prefix}`)
        .sort()
    const linkNames = async (): Promise<string[]> => (await kernel.observe([])).links.map((link) => link.name).sort()

    test('begins with nothing of ours', async () => {
      const observed = await kernel.observe([])
      expect(observed.links).toContainEqual(expect.objectContaining({ name: 'lo', up: true, vxlan: null }))
      expect(observed).toMatchObject({ routes: [], rules: [], uplinks: [], table: null, processes: {}, wireguard: [] })
    })

    test('a tap stands, bears its MTU, and goes', async () => {
      await tap()
      const { links } = await kernel.observe([])
      expect(links.find((link) => link.name === 'fm1')).toEqual({
        ...{ name: 'fm1', kind: 'tun', mtu: 1400, up: true, vxlan: null },
      })
      await twice({ do: 'delete-link', name: 'fm1' })
      expect(await linkNames()).toEqual(['lo'])
    })

    test.each([
      ['IPv4', vxlan],
      ['IPv6, link-local', vxlan6],
    ])('a VXLAN over %s shows what it was made with, and goes with the device under it', async (_, link) => {
      await tap()
      await twice({ do: 'add-link', link })
      await perform({ do: 'set-link', name: 'fm2', mtu: 1330, up: true })
      const found = (await kernel.observe([])).links.find(({ name }) => name === 'fm2')
      expect(found).toEqual({
        ...{ name: 'fm2', kind: 'vxlan', mtu: 1330, up: true },
        vxlan: { vni: link.vni, local: link.local, remote: link.remote, port: link.port },
      })
      await failureOf({ do: 'add-link', link: { ...link, vni: 7 } })
      await perform({ do: 'delete-link', name: 'fm1' })
      expect(await linkNames()).toEqual(['lo'])
    })

    const element = (set: OverrideMap, key: string, verdict?: string): Element => ({
      ...{ table: 'fleetmove', set, key },
      ...(verdict === undefined ? {} : { verdict }),
    })
    const present = async (): Promise<unknown> => (await kernel.observe([])).table?.overrides

    test('listeners are paused, sent elsewhere, and let be: all of a change or nothing of it', async () => {
      await perform(ruleset('aaaa', ['one', 'two'], []))
      expect(await present()).toEqual(overrides)
      const add = [
        element('override4', '203.0.113.10 . udp . 53', 'goto two'),
        element('override4', '203.0.113.10 . tcp . 80', 'drop'),
        element('override6', '2001:db8:a::10 . tcp . 65535', 'drop'),
        element('override-localhost', 'tcp . 80', 'accept'),
      ]
      await twice({ do: 'change-elements', remove: [], add })
      const all = {
        override4: ['203.0.113.10 . tcp . 80 : drop', '203.0.113.10 . udp . 53 : goto two'],
        override6: ['2001:db8:a::10 . tcp . 65535 : drop'],
        'override-localhost': ['tcp . 80 : accept'],
      }
      expect(await present()).toEqual(all)
      const absent = element('override4', '203.0.113.99 . tcp . 80')
      const further = element('override6', '2001:db8:a::10 . udp . 53', 'drop')
      const error = await failureOf({ do: 'change-elements', remove: [absent], add: [further] })
      expect(error.message).toContain('ENOENT')
      await failureOf({ do: 'change-elements', remove: [], add: [further, { ...add[1]!, verdict: 'goto two' }] })
      expect(await present()).toEqual(all)
      // One takes the place of another.
      const key = '203.0.113.10 . tcp . 80'
      await perform({
        ...{ do: 'change-elements', remove: [element('override4', key)] },
        add: [element('override4', key, 'goto one')],
      })
      expect(await present()).toMatchObject({ override4: [`${key} : goto one`, '203.0.113.10 . udp . 53 : goto two'] })
      await perform({ do: 'change-elements', remove: add.map(({ verdict: _, ...rest }) => rest), add: [] })
      expect(await present()).toEqual(noOverrides)
    })

    test('thousands of listeners are paused in one change', async () => {
      await perform(ruleset('aaaa', ['one'], []))
      const keys = Array.from({ length: 5000 }, (_, i) => `203.0.113.10 . udp . ${i + 1}`)
      for (const some of [keys, keys.slice(0, mostElements)]) {
        const add = some.map((key) => element('override4', key, 'goto one'))
        await perform({ do: 'change-elements', remove: [], add })
        expect((await kernel.observe([])).table?.overrides.override4).toHaveLength(some.length + 1)
        await perform({ do: 'change-elements', remove: some.map((key) => element('override4', key)), add: [] })
      }
      expect(await present()).toEqual(overrides)
    })

    test('without a table nothing can be paused', async () => {
      const add = [element('override4', '203.0.113.10 . tcp . 80', 'drop')]
      expect((await failureOf({ do: 'change-elements', remove: [], add })).message).toContain('ENOENT')
    })

    test('a VXLAN over a device that is not there fails, naming it', async () => {
      expect((await failureOf({ do: 'add-link', link: vxlan })).message).toContain('there is no device fm1')
    })

    test('addresses of both families', async () => {
      await tap()
      await twice({ do: 'add-address', address }, { do: 'add-address', address: address6 })
      expect(await addressesOf('fm1')).toEqual(['10.90.0.1/30', 'fd90::1/126'])
      await twice({ do: 'delete-address', address }, { do: 'delete-address', address: address6 })
      expect(await addressesOf('fm1')).toEqual([])
    })

    test('an address on a device that is not there fails, naming it; taking one away from there does not', async () => {
      const error = await failureOf({ do: 'add-address', address })
      expect(error.code).toBe('kernel')
      expect(error.message).toContain('there is no device fm1')
      await perform({ do: 'delete-address', address })
    })

    test('routes of ours in a table above 255: through a gateway, a device alone, and nowhere', async () => {
      await tap()
      await perform({ do: 'add-address', address }, { do: 'add-address', address: address6 })
      const alone = { ...ours, table: 5182, via: null }
      const alone6 = { ...alone, family: 6 as const }
      const routes = [ours, ours6, alone, alone6, blackhole, blackhole6]
      await twice(...routes.map((route): Step => ({ do: 'add-route', route })))
      const observed = await kernel.observe([])
      expect(observed.routes).toHaveLength(routes.length)
      expect(observed.routes).toEqual(expect.arrayContaining(routes))
      expect(observed.uplinks).toEqual([])
      await twice(...routes.map((route): Step => ({ do: 'delete-route', route })))
      expect((await kernel.observe([])).routes).toEqual([])
    })

    test('a route with another next hop takes the place of the one before', async () => {
      await tap()
      await tap('fm3')
      await perform({ do: 'add-address', address }, { do: 'add-route', route: ours })
      const changed = { ...ours, device: 'fm3', via: null }
      await perform({ do: 'add-route', route: changed })
      expect((await kernel.observe([])).routes).toEqual([changed])
      await perform({ do: 'delete-route', route: ours })
      expect((await kernel.observe([])).routes).toEqual([changed])
    })

    test('an IPv6 route without a metric gets the kernel’s own', async () => {
      await tap()
      await twice({ do: 'add-route', route: { ...ours6, via: null, metric: 0 } })
      expect((await kernel.observe([])).routes).toEqual([{ ...ours6, via: null, metric: 1024 }])
      await twice({ do: 'delete-route', route: { ...ours6, via: null, metric: 0 } })
      expect((await kernel.observe([])).routes).toEqual([])
    })

    test('a route through a device that is down is refused', async () => {
      await perform({ do: 'add-link', link: { kind: 'tap', name: 'fm1', mac: '02:fd:0a:5a:00:01', mtu: 1400 } })
      expect((await failureOf({ do: 'add-route', route: { ...ours, via: null } })).message).toContain('is down')
    })

    test('a device’s IPv4 routes go with its last IPv4 address, and everything with the device', async () => {
      await tap()
      await perform({ do: 'add-address', address }, { do: 'add-address', address: address6 })
      await perform({ do: 'add-route', route: ours }, { do: 'add-route', route: ours6 })
      await perform({ do: 'delete-address', address })
      expect((await kernel.observe([])).routes).toEqual([ours6])
      await perform({ do: 'add-address', address }, { do: 'add-route', route: ours })
      await perform({ do: 'delete-link', name: 'fm1' })
      const observed = await kernel.observe([])
      expect(observed.routes).toEqual([])
      expect(await addressesOf('fm1')).toEqual([])
      await perform({ do: 'delete-route', route: ours })
    })

    test('rules with the highest bit of the mark', async () => {
      await twice({ do: 'add-rule', rule }, { do: 'add-rule', rule: rule6 })
      const observed = await kernel.observe([])
      expect(observed.rules).toHaveLength(2)
      expect(observed.rules).toEqual(expect.arrayContaining([rule, rule6]))
      await twice({ do: 'delete-rule', rule }, { do: 'delete-rule', rule: rule6 })
      expect((await kernel.observe([])).rules).toEqual([])
    })

    test('parameters: read, written, absent', async () => {
      await tap('fm1.200')
      const key = 'net.ipv4.conf.fm1.200.rp_filter'
      const gone = 'net.ipv4.conf.fm9.rp_filter'
      await twice({ do: 'set-sysctl', key, value: '2' })
      expect((await kernel.observe([key, gone])).sysctls).toEqual({ [key]: '2' })
      expect((await failureOf({ do: 'set-sysctl', key: gone, value: '1' })).message).toContain(gone)
      await perform({ do: 'delete-link', name: 'fm1.200' })
      expect((await kernel.observe([key])).sysctls).toEqual({})
    })

    test.each(['net.ipv4.conf', 'net.ipv6.conf'])('%s.all.forwarding writes every device’s', async (prefix) => {
      await tap()
      const keys = ['all', 'default', 'lo', 'fm1'].map((device) => `${prefix}.${device}.forwarding`)
      for (const value of ['1', '0']) {
        await perform({ do: 'set-sysctl', key: `${prefix}.all.forwarding`, value })
        const { sysctls } = await kernel.observe(keys)
        expect(Object.values(sysctls)).toEqual([value, value, value, value])
      }
    })

    test('a new device starts with the default’s parameters', async () => {
      const fallback = 'net.ipv4.conf.default.rp_filter'
      const before = (await kernel.observe([fallback])).sysctls[fallback]!
      await perform({ do: 'set-sysctl', key: fallback, value: '1' })
      await tap()
      expect((await kernel.observe(['net.ipv4.conf.fm1.rp_filter'])).sysctls).toEqual({
        'net.ipv4.conf.fm1.rp_filter': '1',
      })
      await perform({ do: 'set-sysctl', key: fallback, value: before })
    })

    test('the table: fingerprint, chains and counters; what a later ruleset deletes is gone', async () => {
      await twice(ruleset('00c0ffee', ['one', 'two'], ['a-count', 'b-count']))
      expect((await kernel.observe([])).table).toEqual({
        fingerprint: '00c0ffee',
        chains: ['one', 'two'],
        counters: ['a-count', 'b-count'],
        rules: { one: 1, two: 0 },
        elements: { open4: 2, open6: 0, localhost: 0 },
        overrides,
      })
      const removal = 'delete chain inet fleetmove two\ndelete counter inet fleetmove b-count'
      await perform(ruleset('facade', ['one', 'three'], ['a-count'], removal))
      expect((await kernel.observe([])).table).toEqual({
        fingerprint: 'facade',
        chains: ['one', 'three'],
        counters: ['a-count'],
        rules: { one: 1, three: 0 },
        elements: { open4: 2, open6: 0, localhost: 0 },
        overrides,
      })
      await twice({ do: 'delete-table' })
      expect((await kernel.observe([])).table).toBeNull()
    })

    test('rules of ours in chains of other firewalls', async () => {
      subject.raiseFirewall()
      const allow = { kind: 'forwarded' } as const
      const chains = async (): Promise<ForeignChain[]> =>
        (await kernel.observe([])).firewalls.filter(({ dropsAt }) => dropsAt !== null)
      const found = await chains()
      expect(found.map(({ place, dropsAt, ours }) => [place.by, place.chain, dropsAt === null, ours])).toEqual([
        ['iptables', 'FORWARD', false, []],
        ['nft', 'guard', false, []],
      ])
      for (const { place, dropsAt } of found)
        await twice({ do: 'add-firewall-rule', rule: { place, allow, before: dropsAt! } })
      const standing = await chains()
      const comment = 'fleetmove forwarded'
      expect(standing.map(({ ours }) => ours)).toEqual([
        [{ comment, effective: true, words: iptablesWords(allow) }],
        [{ comment, effective: true, words: [] }],
      ])
      for (const { place, ours } of standing)
        await twice({ do: 'remove-firewall-rule', place, comment, words: ours[0]!.words })
      expect(await chains()).toEqual(found)
      const nowhere = { by: 'nft', family: 'inet', table: 'nothing', chain: 'nowhere' } as const
      expect((await failureOf({ do: 'add-firewall-rule', rule: { place: nowhere, allow, before: 0 } })).code).toBe(
        'kernel',
      )
    })

    test('a process is known by what it was started with, and replaced when that changes', async () => {
      await twice({ do: 'start-process', process: sleeper })
      expect((await kernel.observe([])).processes).toEqual({ sleeper: processFingerprint(sleeper) })
      const changed = { ...sleeper, env: { ONE: '2' } }
      await perform({ do: 'start-process', process: changed })
      expect((await kernel.observe([])).processes).toEqual({ sleeper: processFingerprint(changed) })
      await twice({ do: 'stop-process', name: 'sleeper' })
      expect((await kernel.observe([])).processes).toEqual({})
    })

    test('wireguard-go makes its device, is configured, and takes it along', async () => {
      const process = wireguardGo('fmw1')
      await twice({ do: 'start-process', process })
      expect((await kernel.observe([])).links).toContainEqual(expect.objectContaining({ name: 'fmw1', kind: 'tun' }))
      await perform({ do: 'set-link', name: 'fmw1', mtu: 1440, up: true })
      const former = {
        ...wireguard,
        peer: { ...wireguard.peer, publicKey: 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=' },
      }
      await twice({ do: 'configure-wireguard', link: former }, { do: 'configure-wireguard', link: wireguard })
      expect((await kernel.observe([])).wireguard).toEqual([
        {
          name: 'fmw1',
          listenPort: 51820,
          peers: [
            {
              publicKey: wireguard.peer.publicKey,
              endpoint: '198.51.100.20:51820',
              allowedIps: ['0.0.0.0/0', '::/0'],
            },
          ],
        },
      ])
      await perform({ do: 'stop-process', name: process.name })
      expect(await linkNames()).toEqual(['lo'])
      expect((await kernel.observe([])).wireguard).toEqual([])
    })

    test('wireguard-go takes the place of a tap that bears its name, but of nothing else', async () => {
      await tap()
      await tap('fmw1')
      await perform({ do: 'add-address', address: { ...address, device: 'fmw1' } })
      await perform({ do: 'start-process', process: wireguardGo('fmw1') })
      expect(await addressesOf('fmw1')).toEqual([])
      await perform({ do: 'configure-wireguard', link: wireguard })
      await perform({ do: 'add-link', link: vxlan })
      await failureOf({ do: 'start-process', process: wireguardGo('fm2') })
      expect(await linkNames()).toEqual(['fm1', 'fm2', 'fmw1', 'lo'])
      expect((await kernel.observe([])).processes).toEqual({
        'wireguard-fmw1': processFingerprint(wireguardGo('fmw1')),
      })
    })

    test('WireGuard in the kernel', async () => {
      const link = { ...wireguard, userspace: false }
      if (!subject.wireguard) {
        if (isInOwnNamespace)
          saySkipped('WireGuard in the kernel', 'it has none here; what is tested instead is that it says so')
        expect((await failureOf({ do: 'add-link', link })).message).toContain('has no wireguard devices')
        return
      }
      await twice({ do: 'add-link', link }, { do: 'configure-wireguard', link })
      const observed = await kernel.observe([])
      expect(observed.links).toContainEqual(expect.objectContaining({ name: 'fmw1', kind: 'wireguard', mtu: 1440 }))
      expect(observed.wireguard).toEqual([expect.objectContaining({ name: 'fmw1', listenPort: 51820 })])
    })

    test('WireGuard on a device that is not there fails', async () => {
      expect((await failureOf({ do: 'configure-wireguard', link: wireguard })).message).toContain('fmw1')
    })
  })
}

if (!isInOwnNamespace) {
  const fake = (wireguardInKernel: boolean) => (): Subject => {
    const kernel = new FakeKernel({ wireguard: wireguardInKernel })
    return {
      kernel,
      wireguard: wireguardInKernel,
      raiseFirewall: () => {
        const chain = { hook: 'forward', ours: [] } as const
        kernel.firewalls = [
          {
            ...chain,
            place: { by: 'iptables', command: 'iptables-nft', chain: 'FORWARD' },
            families: [4],
            dropsAt: 0,
            ours: [],
          },
          {
            ...chain,
            place: { by: 'nft', family: 'inet', table: 'other', chain: 'guard' },
            families: [4, 6],
            dropsAt: 1,
            ours: [],
          },
        ]
      },
      close: () => {},
    }
  }
  contract('the fake kernel', fake(true))
  contract('the fake kernel without WireGuard', fake(false))
}

inOwnNamespace(__filename, () => contract('the real kernel', realKernel))

function realKernel(): Subject {
  const directory = mkdtempSync(join(tmpdir(), 'fleetmove-contract-'))
  const key = join(directory, 'wireguard.key')
  writeFileSync(key, execFileSync('wg', ['genkey']), { mode: 0o600 })
  const kernel = linuxKernel({ runDirectory: join(directory, 'run'), wireguardKeyFile: key })
  return {
    kernel,
    wireguard: hasKernelWireguard(),
    raiseFirewall: () => {
      execFileSync('iptables-nft', ['-P', 'FORWARD', 'DROP'])
      const chain = 'type filter hook forward priority filter; policy accept;'
      execFileSync('nft', [
        `add table inet other; add chain inet other guard { ${chain} }; add rule inet other guard drop`,
      ])
    },
    close: () => {
      kernel.close()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

function hasKernelWireguard(): boolean {
  try {
    execFileSync('ip', ['link', 'add', 'fmprobe', 'type', 'wireguard'], { stdio: 'ignore' })
  } catch {
    return false
  }
  execFileSync('ip', ['link', 'delete', 'fmprobe'])
  return true
}
