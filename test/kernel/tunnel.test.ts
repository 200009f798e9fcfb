import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { piecesOf } from '../../agent/tunnel/tunnel.js'
import { leastTunnelMtu, tunnelMtu } from '../../controller/plan/choose-tunnel.js'
import type { Family, Ip } from '../../proto/model/address.js'
import type { TunnelDriver, TunnelSpec } from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'
import { NamespaceHost, until } from './namespace-host.js'
import { TunnelPerformer } from './tunnel-performer.js'

type Made = Exclude<TunnelDriver, 'direct'>

const outer = { server: { 4: '198.51.100.1', 6: '2001:db8::1' }, client: { 4: '198.51.100.2', 6: '2001:db8::2' } }
const inner = { server: { 4: '10.180.4.1', 6: 'fd05::1' }, client: { 4: '10.180.4.2', 6: 'fd05::2' } }

describe('tunnels between two hosts', () => {
  let dir: string
  let program: string
  let kernelWireguard = false
  const hosts: NamespaceHost[] = []

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'fleetmove-tunnel-'))
    program = join(dir, 'identity.mjs')
    const entry = join(__dirname, 'identity-program.ts')
    await build({ entryPoints: [entry], bundle: true, platform: 'node', format: 'esm', outfile: program })
    const host = await started('probe')
    kernelWireguard = await host.succeeds('ip', 'link', 'add', 'fmw1', 'type', 'wireguard')
    if (!kernelWireguard) console.log('WireGuard in the kernel is not tried: this kernel has none')
    await host.end()
  })
  afterAll(() => rm(dir, { recursive: true, force: true }))
  afterEach(() => Promise.all(hosts.splice(0).map((host) => host.end())))

  const started = async (name: string): Promise<NamespaceHost> => {
    const host = await NamespaceHost.start(name)
    hosts.push(host)
    return host
  }

  interface Pair {
    server: TunnelPerformer
    client: TunnelPerformer
    mtu: number
  }

  const pair = async (
    driver: Made,
    family: Family,
    options: { pathMtu?: number; userspace?: boolean; strange?: boolean; hidden?: boolean; mtu?: number } = {},
  ): Promise<Pair> => {
    const { pathMtu = 1500, userspace = true, strange = false, hidden = false } = options
    const server = await started('server')
    const client = await started('client')
    if (hidden) await joinByRouter(server, client, pathMtu)
    else await server.join(client, 'eth0', 'eth0', pathMtu)
    for (const [host, role] of [
      [server, 'server'],
      [client, 'client'],
    ] as const)
      await host.sh(`ip addr add ${outer[role][4]}/24 dev eth0; ip addr add ${outer[role][6]}/64 dev eth0 nodad`)
    const kind = driver === 'openvpn' ? 'openvpn' : 'wireguard'
    const serverKey = await server.exec('node', program, kind)
    const clientKey = await client.exec('node', program, kind)
    const mtu = options.mtu ?? tunnelMtu(pathMtu, driver, family, userspace)
    const spec = (role: 'server' | 'client', peerIdentity: string): TunnelSpec => {
      const peer = role === 'server' ? 'client' : 'server'
      return {
        index: 1,
        peer: peer as Name,
        driver,
        userspace,
        role,
        port: 51820,
        mtu,
        peerIdentity,
        device: '',
        remote: outer[peer][family] as Ip,
        local4: inner[role][4] as Ip,
        peer4: inner[peer][4] as Ip,
        local6: inner[role][6] as Ip,
        peer6: inner[peer][6] as Ip,
        peerAddresses: [],
        probe: { port: 1, pairs: [] },
      }
    }
    return {
      server: new TunnelPerformer(server, spec('server', clientKey)),
      // A client that expects the server to be somebody else.
      client: new TunnelPerformer(client, spec('client', strange ? await strangeKey(kind) : serverKey)),
      mtu,
    }
  }

  /** A router that only it knows the narrow link of, and that says nothing by ICMP; IPv4. */
  const joinByRouter = async (server: NamespaceHost, client: NamespaceHost, mtu: number): Promise<void> => {
    const router = await started('router')
    await server.join(router, 'eth0', 'server')
    await client.join(router, 'eth0', 'client')
    await router.sh(`sysctl -qw net.ipv4.ip_forward=1
      for side in server client; do
        sysctl -qw net.ipv4.conf.$side.proxy_arp=1 net.ipv4.neigh.$side.proxy_delay=0
      done
      ip addr add 203.0.113.1/32 dev lo
      ip route add ${outer.server[4]} dev server mtu lock ${mtu}
      ip route add ${outer.client[4]} dev client mtu lock ${mtu}
      nft 'table ip t { chain c { type filter hook output priority 0; icmp type destination-unreachable drop; }; }'`)
  }

  const strangeKey = async (kind: string): Promise<string> => {
    const stranger = await started('stranger')
    return stranger.exec('node', program, kind)
  }

  const carries = (from: NamespaceHost, to: string, ...options: string[]): Promise<boolean> =>
    from.succeeds('ping', '-n', '-c1', '-W', '0.3', ...options, to)
  const upWithin = (limitMs: number, from: NamespaceHost): Promise<number> =>
    until('a ping through the tunnel', limitMs, () => carries(from, inner.server[4]))

  const cases: [Made, Family][] = [
    ['openvpn', 4],
    ['openvpn', 6],
    ['wireguard', 4],
    ['wireguard', 6],
    ['wireguard-l2', 4],
    ['wireguard-l2', 6],
  ]

  it.each(cases)(
    '%s over IPv%i carries both families, full packets whole, and its overhead is exact',
    async (driver, family) => {
      for (const userspace of driver !== 'openvpn' && kernelWireguard ? [true, false] : [true]) {
        const { server, client, mtu } = await pair(driver, family, { userspace })
        // Outer packets of exactly the path's MTU: the overhead is right to the byte.
        await client.host.exec(
          'nft',
          `table inet t { chain c { type filter hook output priority 0
        oifname eth0 udp dport 51820 meta length 1500 counter; }; }`,
        )
        const begin = performance.now()
        await server.up()
        await client.up()
        await upWithin(10_000, client.host)
        console.log(
          `${driver} over IPv${family}: first packet ${Math.round(performance.now() - begin)} ms after the start of both ends`,
        )
        expect(await carries(client.host, inner.server[6])).toBe(true)
        expect(await carries(client.host, inner.server[4], '-M', 'do', '-s', String(mtu - 28))).toBe(true)
        expect(await carries(client.host, inner.server[6], '-M', 'do', '-s', String(mtu - 48))).toBe(true)
        expect(await carries(client.host, inner.server[4], '-M', 'do', '-s', String(mtu - 27))).toBe(false)
        expect(await client.host.exec('nft', 'list', 'ruleset')).toMatch(/counter packets [1-9]/)
        const fragments = await client.host.exec('nstat', '-az', 'IpFragCreates', 'Ip6FragCreates')
        expect(fragments).toMatch(/IpFragCreates +0 [\s\S]*Ip6FragCreates +0 /)
        await Promise.all([server, client].map(({ host }) => host.end()))
      }
    },
    60_000,
  )

  it('OpenVPN comes back when either end is killed or was away', async () => {
    const { server, client } = await pair('openvpn', 4)
    await server.up()
    await client.up()
    await upWithin(10_000, client.host)
    const restart = async (end: TunnelPerformer, awayMs: number): Promise<void> => {
      await end.processes.get('openvpn-fm1')!.stop()
      // Away until the other end has noticed by itself and started over.
      const other = end === server ? client : server
      if (awayMs > 0)
        await until('the other end to start over', awayMs, async () =>
          other.processes.get('openvpn-fm1')!.log.includes('ping-restart'),
        )
      await end.start('openvpn-fm1')
      const took = await upWithin(10_000, client.host)
      console.log(
        `OpenVPN: ${end.tunnel.role} ${awayMs > 0 ? 'away' : 'restarted'}, back ${Math.round(took)} ms after its start`,
      )
    }
    for (const awayMs of [0, 20_000]) for (const end of [server, client]) await restart(end, awayMs)
  }, 90_000)

  it('wireguard-go comes back from the same pieces when it was killed', async () => {
    const { server, client } = await pair('wireguard', 4)
    await server.up()
    await client.up()
    await upWithin(10_000, client.host)
    await server.processes.get('wireguard-fm1')!.stop()
    expect(await server.host.succeeds('ip', 'link', 'show', 'fm1')).toBe(false)
    server.processes.clear()
    await server.up()
    console.log(`wireguard-go: back ${Math.round(await upWithin(20_000, client.host))} ms after its start`)
  }, 60_000)

  it('OpenVPN refuses a peer with another certificate', async () => {
    const { server, client } = await pair('openvpn', 4, { strange: true })
    await server.up()
    await client.up()
    const log = () => client.processes.get('openvpn-fm1')!.log
    await until('the refusal', 20_000, async () =>
      /fingerprint|verify failed/i.test(log().replace(/Using certificate fingerprint.*/, '')),
    )
    expect(await carries(client.host, inner.server[4])).toBe(false)
    expect(log()).not.toContain('Peer Connection Initiated')
  }, 60_000)

  it('WireGuard refuses a peer with another key', async () => {
    const { server, client } = await pair('wireguard', 4, { strange: true })
    await server.up()
    await client.up()
    // Two handshakes begun, 148 bytes each, and none answered.
    await until('two handshakes', 20_000, async () => {
      await carries(client.host, inner.server[4])
      return Number((await client.host.exec('wg', 'show', 'fm1', 'transfer')).trim().split('\t')[2]) >= 296
    })
    expect((await client.host.exec('wg', 'show', 'fm1', 'latest-handshakes')).trim()).toMatch(/\t0$/)
    expect(await carries(client.host, inner.server[4])).toBe(false)
  }, 60_000)

  it('takes no VXLAN packets that come past WireGuard', async () => {
    const { server, client } = await pair('wireguard-l2', 4)
    await server.up()
    await client.up()
    await upWithin(10_000, client.host)
    const vxlan = piecesOf(server.tunnel).links.find((link) => link.kind === 'vxlan')!
    const received = () =>
      server.host
        .exec('ip', '-j', '-s', 'link', 'show', 'dev', 'fm1')
        .then((text) => JSON.parse(text)[0].stats64.rx.packets)
    await client.host.sh('ip link set fm1 down')
    const before = await received()
    const stranger = await started('forger')
    await stranger.join(server.host, 'eth0', 'eth1')
    await server.host.sh('ip addr add 2001:db8:9::1/64 dev eth1 nodad')
    await server.host.exec(
      'nft',
      `table inet t { chain c { type filter hook input priority 0
      iifname eth1 udp dport ${vxlan.port} counter; }; }`,
    )
    await stranger.sh(`ip addr add 2001:db8:9::2/64 dev eth0 nodad
      ip link add forged type vxlan id ${vxlan.vni} remote 2001:db8:9::1 dstport ${vxlan.port} dev eth0
      ip link set forged up; ip addr add 10.180.4.3/24 dev forged`)
    await carries(stranger, inner.server[4])
    await until('forged frames at the port', 5000, async () =>
      /eth1.*counter packets [1-9]/.test(await server.host.exec('nft', 'list', 'ruleset')),
    )
    expect(await received()).toBe(before)
  }, 60_000)

  it.each([
    ['openvpn', true],
    ['wireguard', false],
  ] as const)(
    'on a path too narrow for 1,280 bytes whose router keeps silent, %s passes: %s',
    async (driver, passes) => {
      const choose = () => tunnelMtu(1300, driver, 4, true)
      if (passes) expect(choose()).toBe(leastTunnelMtu)
      else expect(choose).toThrow('1300')
      const { server, client } = await pair(driver, 4, { pathMtu: 1300, hidden: true, mtu: leastTunnelMtu })
      await server.up()
      await client.up()
      await upWithin(10_000, client.host)
      const full = await carries(client.host, inner.server[6], '-M', 'do', '-s', String(1280 - 48))
      expect(full).toBe(passes)
    },
    60_000,
  )
})
