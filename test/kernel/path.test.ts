import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { NamespaceHost, type RunningProcess, until } from './namespace-host.js'

/** left -- router -- right; the router's right link takes `mtu`. */
describe('the path between two hosts', () => {
  let dir: string
  let program: string
  let node: string[]
  let left: NamespaceHost
  let router: NamespaceHost
  let right: NamespaceHost
  let reflector: RunningProcess

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'fleetmove-path-'))
    program = join(dir, 'path-peer.cjs')
    const entry = join(__dirname, 'path-peer.ts')
    node = ['env', `NODE_PATH=${join(__dirname, '../../node_modules')}`, 'node', program]
    await build({
      entryPoints: [entry],
      bundle: true,
      platform: 'node',
      format: 'cjs',
      external: ['netlink'],
      outfile: program,
    })
  })
  afterAll(() => rm(dir, { recursive: true, force: true }))

  const network = async (mtu: number): Promise<void> => {
    left = await NamespaceHost.start('left')
    router = await NamespaceHost.start('router')
    right = await NamespaceHost.start('right')
    await left.join(router, 'eth0', 'left')
    await right.join(router, 'eth0', 'right', mtu)
    await left.sh(`ip addr add 198.51.100.2/24 dev eth0; ip route add default via 198.51.100.1
      ip addr add 2001:db8:1::2/64 dev eth0 nodad; ip -6 route add default via 2001:db8:1::1`)
    // The right host believes in 1,500 too: only the router knows better.
    await right.sh(`ip link set eth0 mtu 1500; ip addr add 203.0.113.2/24 dev eth0; ip route add default via 203.0.113.1
      ip addr add 2001:db8:2::2/64 dev eth0 nodad; ip -6 route add default via 2001:db8:2::1`)
    await router.sh(`sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
      ip addr add 198.51.100.1/24 dev left; ip addr add 2001:db8:1::1/64 dev left nodad
      ip addr add 203.0.113.1/24 dev right; ip addr add 2001:db8:2::1/64 dev right nodad`)
    reflector = right.spawn([...node, 'reflect', '51820'])
    await until('the reflector', 10_000, async () => reflector.log.includes('"ready"'))
  }
  afterEach(() => Promise.all([left, router, right].map((host) => host?.end())))

  const silenceIcmp = () =>
    router.exec(
      'nft',
      `table inet t { chain c { type filter hook output priority 0
      icmp type destination-unreachable drop; icmpv6 type packet-too-big drop; }; }`,
    )
  const measure = async (remote: string, timeoutMs = 8000) =>
    JSON.parse(await left.exec(...node, 'measure', '51820', remote, String(timeoutMs)))

  it.each(['203.0.113.2', '2001:db8:2::2'])(
    'carries the device MTU to %s where nothing is narrower',
    async (remote) => {
      await network(1500)
      expect(await measure(remote)).toMatchObject({ reached: true, mtu: 1500 })
    },
    30_000,
  )

  it.each(['203.0.113.2', '2001:db8:2::2'])(
    'takes what a router says by ICMP on the way to %s',
    async (remote) => {
      await network(1400)
      const measured = await measure(remote)
      expect(measured).toMatchObject({ reached: true, mtu: 1400 })
      expect(measured.detail).toContain('said that 1400 fits')
    },
    30_000,
  )

  it.each(['203.0.113.2', '2001:db8:2::2'])(
    'finds the size by search where ICMP is dropped on the way to %s',
    async (remote) => {
      await network(1357)
      await silenceIcmp()
      const measured = await measure(remote)
      expect(measured).toMatchObject({ reached: true, mtu: 1357 })
      expect(measured.detail).not.toContain('router')
    },
    30_000,
  )

  it('measures a peer behind one-to-one NAT by its public address', async () => {
    await network(1400)
    await router.exec(
      'nft',
      `table ip n {
      chain in { type nat hook prerouting priority dstnat; ip daddr 198.51.100.200 dnat to 203.0.113.2
          }
      chain out { type nat hook postrouting priority srcnat; ip saddr 203.0.113.2 snat to 198.51.100.200
          }
        }`,
    )
    await left.sh('ip route add 198.51.100.200 via 198.51.100.1')
    expect(await measure('198.51.100.200')).toMatchObject({ reached: true, mtu: 1400 })
  }, 30_000)

  it('takes the limit of a peer that cannot answer as large', async () => {
    await network(1500)
    await right.sh('ip route change default via 203.0.113.1 mtu 1350')
    const measured = await measure('203.0.113.2')
    expect(measured).toMatchObject({ reached: true, mtu: 1350 })
    expect(measured.detail).toContain('can answer with 1350 only')
  }, 30_000)

  it('says within its time that a peer is not reached', async () => {
    await network(1500)
    await router.exec('nft', 'table inet t { chain c { type filter hook forward priority 0; udp dport 51820 drop; }; }')
    const begin = performance.now()
    expect(await measure('203.0.113.2', 1000)).toMatchObject({
      reached: false,
      mtu: 0,
      detail: '576 did not come back',
    })
    expect(performance.now() - begin).toBeLessThan(5000)
  }, 30_000)

  it('names the port that another process has', async () => {
    await network(1500)
    const squatter = left.spawn(['socat', 'UDP4-RECV:51820', 'STDOUT'])
    await until('socat', 5000, async () => (await left.exec('ss', '-Hnul', 'sport = :51820')) !== '')
    expect(await measure('203.0.113.2')).toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('UDP port 51820'),
      hint: expect.stringContaining('tunnel.port'),
    })
    await squatter.stop()
  }, 30_000)

  it('answers only datagrams that bear the token, and with as many bytes', async () => {
    await network(1500)
    await left.sh(
      'for word in x 0123456789abcde 0123456789abcdeX-and-some-more; do printf %s "$word" | socat -u STDIN UDP4:203.0.113.2:51820; done',
    )
    expect(await measure('203.0.113.2')).toMatchObject({ reached: true })
    const seen = reflector.log
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => JSON.parse(line).bytes)
    expect(seen).toEqual([576 - 28, 576 - 28, 1500 - 28])
  }, 30_000)
})
