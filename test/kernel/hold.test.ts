import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import type { HeldListener, HoldMeans } from '../../agent/hold/hold-rules.js'
import type { Ip } from '../../proto/model/address.js'
import type { Attempt, Done, Load, Step } from './hold-program.js'
import { NamespaceHost, type RunningProcess, until } from './namespace-host.js'
import { saySkipped, whyNoNamespace } from './netns.js'

const reason = whyNoNamespace()
if (reason !== null) saySkipped(__filename, reason)
const onKernel = reason === null ? describe : describe.skip

const service4 = '203.0.113.10' as Ip
const service6 = '2001:db8:a::10' as Ip
const port = 8080
const listeners: HeldListener[] = [
  { protocol: 'tcp', address: service4, ports: { from: port, to: port } },
  { protocol: 'tcp', address: service6, ports: { from: port, to: port } },
  { protocol: 'udp', address: service4, ports: { from: port, to: port } },
  { protocol: 'udp', address: service6, ports: { from: port, to: port } },
]
const hold = (means: HoldMeans, more: object = {}): Step => ({
  do: 'hold',
  means,
  listeners,
  maxPackets: 4096,
  maxBytes: 1_000_000,
  maxMs: 10_000,
  ...more,
})
const wait = (ms: number): Step => ({ do: 'wait', ms })
const sh = (script: string): Step => ({ do: 'sh', script })
/** Until `go` is called: what is to be held may take its time to come. */
const untilTold = sh('until [ -e /run/go ]; do sleep 0.02; done; rm /run/go')
/** The old server goes; whoever comes now would be refused. */
const stopOld = sh('kill -9 $(cat /run/server.pid)')
const pointTo = (chain: string): string => `nft -f - <<'END'
flush map inet t open4
flush map inet t open6
add element inet t open4 { ${service4} . tcp . ${port} : goto ${chain}4, ${service4} . udp . ${port} : goto ${chain}4 }
add element inet t open6 { ${service6} . tcp . ${port} : goto ${chain}6, ${service6} . udp . ${port} : goto ${chain}6 }
END`
const switchOver = sh(pointTo('forward'))

const say = (line: string): void => void process.stderr.write(`measured: hold: ${line}\n`)
const quantile = (values: number[], q: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN
const ms = (value: number): string => `${value.toFixed(1)} ms`

/** client -- ingress -- other: the service moves from ingress to other. */
onKernel('holding opening packets', () => {
  let directory: string
  let node: string[]
  let client: NamespaceHost
  let ingress: NamespaceHost
  let other: NamespaceHost
  let otherServer: RunningProcess
  let queued: HoldMeans

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'fleetmove-hold-test-'))
    const program = join(directory, 'hold-program.cjs')
    await build({
      entryPoints: [join(__dirname, 'hold-program.ts')],
      bundle: true,
      platform: 'node',
      format: 'cjs',
      external: ['netlink'],
      outfile: program,
    })
    node = ['env', `NODE_PATH=${join(__dirname, '../../node_modules')}`, 'node', program]
  })
  afterAll(() => rm(directory, { recursive: true, force: true }))

  beforeEach(async () => {
    client = await NamespaceHost.start('client')
    ingress = await NamespaceHost.start('ingress')
    other = await NamespaceHost.start('other')
    await client.join(ingress, 'eth0', 'eth0')
    await ingress.join(other, 'eth1', 'eth0')
    await client.sh(`ip addr add 198.51.100.2/24 dev eth0; ip route add default via 198.51.100.1
      ip addr add 2001:db8:1::2/64 dev eth0 nodad; ip -6 route add default via 2001:db8:1::1`)
    await other.sh(`ip addr add 10.9.0.2/30 dev eth0; ip route add default via 10.9.0.1
      ip addr add fd09::2/64 dev eth0 nodad; ip -6 route add default via fd09::1`)
    await ingress.sh(`sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
      ip addr add 198.51.100.1/24 dev eth0; ip addr add 2001:db8:1::1/64 dev eth0 nodad
      ip addr add ${service4}/32 dev eth0; ip addr add ${service6}/128 dev eth0 nodad
      ip addr add 10.9.0.1/30 dev eth1; ip addr add fd09::1/64 dev eth1 nodad
      nft -f - <<'END'
      table inet t {
        map open4 { type ipv4_addr . inet_proto . inet_service : verdict; }
        map open6 { type ipv6_addr . inet_proto . inet_service : verdict; }
        chain here4 { accept; }
        chain here6 { accept; }
        chain forward4 { dnat ip to 10.9.0.2; }
        chain forward6 { dnat ip6 to fd09::2; }
        chain open-prerouting {
          type nat hook prerouting priority -110
          tcp flags & (fin | syn | rst | ack) != syn accept
          meta l4proto { tcp, udp } ip daddr . meta l4proto . th dport vmap @open4
          meta l4proto { tcp, udp } ip6 daddr . meta l4proto . th dport vmap @open6
        }
      }
END
      ${pointTo('here')}`)
    const server = ingress.spawn([...node, 'serve', 'A', String(port)])
    otherServer = other.spawn([...node, 'serve', 'B', String(port)])
    await until('the servers', 10_000, async () => server.log.includes('ready') && otherServer.log.includes('ready'))
    // Known neighbours, as the ends of a tunnel are: a burst before the first answer would be dropped.
    await ingress.sh('ping -qc 1 10.9.0.2; ping -qc 1 fd09::2')
    queued = (await act([{ do: 'means' }]))[0]!.answer
    if (queued === 'drop') throw new Error('this kernel can queue neither by nftables nor by xtables')
  }, 30_000)
  afterEach(async () => {
    await Promise.all([client, ingress, other].map((host) => host?.end()))
  })

  const lines = (log: string): Done[] =>
    log
      .trim()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line))
  const act = async (steps: Step[]): Promise<Done[]> =>
    lines(await ingress.exec(...node, 'agent', JSON.stringify(steps)))
  const at = (done: Done[], step: Step['do'], index = 0): number =>
    done.filter((one) => one.step === step)[index]?.at ?? Number.NaN
  const answer = (done: Done[], step: Step['do']) => done.find((one) => one.step === step)?.answer

  const startLoad = async (load: Load): Promise<{ attempts(): Promise<Attempt[]> }> => {
    const running = client.spawn([...node, 'load', JSON.stringify(load)])
    await until('the first connections', 10_000, async () => running.log.includes('begun'))
    return {
      attempts: async () => {
        running.say('enough')
        await until('the last connections', 60_000, async () => running.log.endsWith(']\n'))
        return JSON.parse(running.log.trim().split('\n')[1]!)
      },
    }
  }
  /** 500 new connections a second, half of them IPv6, for as long as it takes a busy machine. */
  const steady: Load = { targets: [service4, service6], port, perSecond: 500, count: 20_000 }

  /** The table alone comes earlier. */
  const untilHeld = (): Promise<number> =>
    until('the hold', 10_000, async () => / expires /.test(await ingress.sh('nft list ruleset')))

  const go = (): Promise<string> => ingress.sh('touch /run/go')

  const nothingLeft = async (): Promise<void> => {
    const rules = await ingress.sh(
      'nft list ruleset; iptables -t raw -S; ip6tables -t raw -S; cat /proc/net/netfilter/nfnetlink_queue; ls /run/fleetmove',
    )
    expect(rules).toContain('table inet t')
    expect(rules).not.toMatch(/fleetmove|NFQUEUE|5180|table ip6? raw/)
  }
  const summarise = (what: string, attempts: Attempt[], from: number, till: number) => {
    const held = attempts.filter(({ begun }) => begun > from && begun < till)
    const excess = held.map(({ begun, connectMs }) => begun + connectMs - till)
    const times = held.map(({ connectMs }) => connectMs)
    const refused = attempts.filter(({ outcome }) => outcome !== 'A' && outcome !== 'B')
    const gap = till - from
    say(
      `${what}: gap ${ms(gap)}, ${attempts.length} connections, refused or broken ${refused.length}, ` +
        `in the gap ${held.length}: connect p50 ${ms(quantile(times, 0.5))}, p99 ${ms(quantile(times, 0.99))}, ` +
        `max ${ms(Math.max(...times))}; after its end p50 ${ms(quantile(excess, 0.5))}, p99 ${ms(quantile(excess, 0.99))}, ` +
        `max ${ms(Math.max(...excess))}`,
    )
    expect(refused).toEqual([])
    return {
      held: held.length,
      gap,
      p99: quantile(times, 0.99),
      max: Math.max(...times),
      excess: quantile(excess, 0.99),
    }
  }
  const move = (means: HoldMeans, more: object = {}): Step[] => [
    wait(700),
    hold(means, more),
    // What was let through before has arrived and is accepted.
    wait(30),
    stopOld,
    wait(450),
    { do: 'held' },
    switchOver,
    { do: 'release' },
  ]

  test('a move under load: nobody refused, and the wait is the gap; dropping costs whole seconds', async () => {
    const p99: { [means: string]: number } = {}
    if (queued !== 'nft-queue')
      saySkipped('hold by nf_tables', 'this kernel has no `queue` statement; xtables takes its place')
    const variants: HoldMeans[] = queued === 'nft-queue' ? ['nft-queue', 'xtables-queue', 'drop'] : [queued, 'drop']
    for (const means of variants) {
      if (means !== variants[0]) {
        await ingress.sh(pointTo('here'))
        const server = ingress.spawn([...node, 'serve', 'A', String(port)])
        await until('the server', 10_000, async () => server.log.includes('ready'))
      }
      const load = await startLoad(steady)
      const done = await act(move(means))
      const attempts = await load.attempts()
      const seen = summarise(means, attempts, at(done, 'hold'), at(done, 'sh', 1))
      const { why, counts, ms: released } = answer(done, 'release')
      say(`${means}: release took ${ms(released)}; ${JSON.stringify(counts)}`)
      expect(why).toBe('released')
      expect(seen.held).toBeGreaterThan(150)
      p99[means] = seen.p99 - seen.gap
      if (means === 'drop') {
        expect(counts.dropped).toBeGreaterThan(150)
        expect(seen.max).toBeGreaterThan(900)
      } else {
        expect(answer(done, 'held').syns).toBeGreaterThan(150)
        expect(counts).toMatchObject({ syns: 0, datagrams: 0, lost: 0, dropped: 0 })
      }
      await nothingLeft()
    }
    say(`p99 of connect time less the gap: ${JSON.stringify(p99)}`)
    // The aim is 10 ms, which a busy machine doesn't keep; a lost SYN adds what dropping adds.
    for (const means of variants) if (means !== 'drop') expect(p99[means]).toBeLessThan(p99.drop! / 2)
  }, 60_000)

  test('the process that holds is killed in the gap: clients send again, nobody is refused', async () => {
    const load = await startLoad(steady)
    const steps = move(queued)
    steps.splice(4, 1, wait(200), sh('kill -9 $(pgrep -P $PPID node)'), wait(250))
    const done = await act(steps)
    summarise('holder killed', await load.attempts(), at(done, 'hold'), at(done, 'sh', 2))
    expect(answer(done, 'release').why).toBe('lost')
    expect(answer(done, 'held').dropped).toBeGreaterThan(150)
    await nothingLeft()
  }, 60_000)

  test('the agent is killed in the gap: the kernel drops until the hold is over, then all pass', async () => {
    const load = await startLoad({ ...steady, perSecond: 50 })
    await expect(
      act([wait(700), hold(queued, { maxMs: 4000 }), wait(30), stopOld, wait(200), { do: 'die' }]),
    ).rejects.toThrow()
    const [table] = await Promise.all([
      ingress.sh('nft list table inet fleetmove-hold'),
      ingress.sh(pointTo('forward')),
    ])
    expect(table).toMatch(/expires/)
    // Another agent comes up before the time is over, and leaves what is still held.
    expect(answer(await act([{ do: 'sweep' }]), 'sweep')).toBe(false)
    const attempts = await load.attempts()
    const refused = attempts.filter(({ outcome }) => outcome !== 'A' && outcome !== 'B')
    say(`agent killed: refused ${refused.length}, longest connect ${ms(Math.max(...attempts.map((a) => a.connectMs)))}`)
    expect(refused).toEqual([])
    await until('the end of the hold', 20_000, async () => answer(await act([{ do: 'sweep' }]), 'sweep') === true)
    await nothingLeft()
  }, 60_000)

  test('a dead agent left tables that its rules made: the next one takes them away, but not from under others', async () => {
    await expect(act([hold('xtables-queue', { maxMs: 300 }), { do: 'die' }])).rejects.toThrow()
    expect(await ingress.sh('nft list tables')).toMatch(/table ip raw\ntable ip6 raw/)
    await ingress.sh('ip6tables -w -t raw -A PREROUTING -p udp --dport 9 -j ACCEPT')
    await until('the end of the hold', 5000, async () => answer(await act([{ do: 'sweep' }]), 'sweep') === true)
    const left = await ingress.sh('nft list tables; ip6tables -t raw -S')
    expect(left).not.toContain('table ip raw')
    expect(left).toContain('table ip6 raw')
    expect(left).toContain('--dport 9 -j ACCEPT')
    expect(left).not.toContain('NFQUEUE')
    await ingress.sh('nft delete table ip6 raw')

    // One hold of a dead agent ends with the first of its successor.
    const [web, dns] = [listeners.slice(0, 2), listeners.slice(2)]
    await expect(
      act([
        hold('xtables-queue', { maxMs: 300, listeners: web }),
        hold('xtables-queue', { maxMs: 300, listeners: dns }),
        { do: 'die' },
      ]),
    ).rejects.toThrow()
    await act([wait(400), hold('xtables-queue', { listeners: web }), { do: 'release' }])
    await until('the end of the hold', 5000, async () => answer(await act([{ do: 'sweep' }]), 'sweep') === true)
    await nothingLeft()
  }, 30_000)

  test('a base chain goes in the gap: what was queued is lost, and what is sent again is held', async () => {
    await ingress.sh(`nft 'table inet foreign { chain c { type filter hook forward priority 5; }; }'`)
    const load = await startLoad({ ...steady, perSecond: 200 })
    const done = await act([
      wait(300),
      hold(queued),
      wait(30),
      stopOld,
      wait(500),
      sh('nft delete table inet foreign'),
      wait(1100),
      { do: 'held' },
      switchOver,
      { do: 'release' },
    ])
    const seen = summarise('base chain deleted', await load.attempts(), at(done, 'hold'), at(done, 'sh', 2))
    const { counts } = answer(done, 'release')
    say(`base chain deleted: ${JSON.stringify(counts)}`)
    expect(counts.lost).toBeGreaterThan(50)
    // Those whose SYN was lost sent it again a second later, into the same hold; the next would come two seconds later.
    expect(seen.excess).toBeLessThan(500)
    await nothingLeft()
  }, 60_000)

  test('bounded: packets, bytes and time', async () => {
    const load = await startLoad({ ...steady, perSecond: 200 })
    const done = await act([
      hold(queued, { maxPackets: 20, maxMs: 3000 }),
      wait(30),
      stopOld,
      wait(700),
      { do: 'held' },
      switchOver,
      { do: 'ended' },
    ])
    expect(answer(done, 'held')).toMatchObject({ syns: 20 })
    expect(answer(done, 'held').dropped).toBeGreaterThan(50)
    expect(answer(done, 'ended')).toMatchObject({ why: 'expired', counts: { syns: 0 } })
    expect(answer(done, 'ended').counts.released).toBeGreaterThanOrEqual(20)
    const attempts = await load.attempts()
    expect(attempts.filter(({ outcome }) => outcome !== 'A' && outcome !== 'B')).toEqual([])
    await nothingLeft()
  }, 60_000)

  test('first datagrams arrive in their order, within the limit', async () => {
    const targets = [service4, service6]
    const count = 150
    const acting = act([hold(queued), stopOld, untilTold, { do: 'held' }, switchOver, { do: 'release' }])
    await untilHeld()
    await client.exec(...node, 'send', JSON.stringify({ targets, port, count, bytes: 400 }))
    await go()
    const done = await acting
    expect(answer(done, 'held')).toMatchObject({ datagrams: 2 * count, dropped: 0, bytes: count * (428 + 448) })
    const got = (): string[] =>
      (otherServer.log.match(/"[^"]+"/g) ?? []).slice(1).map((text) => text.replace(/[".]+$/, '').slice(1))
    await until('the datagrams', 5000, async () => got().length === 2 * count)
    for (const target of targets) {
      const own = got().filter((text) => text.startsWith(`${target} `))
      expect(own).toEqual(Array.from({ length: count }, (_, number) => expect.stringContaining(`${target} ${number}`)))
    }
    await nothingLeft()

    const limited = act([hold(queued, { maxBytes: 10_000 }), untilTold, { do: 'held' }, { do: 'release' }])
    await untilHeld()
    await client.exec(...node, 'send', JSON.stringify({ targets, port, count, bytes: 400 }))
    await go()
    const held = answer(await limited, 'held')
    expect(held.bytes).toBeLessThanOrEqual(10_000)
    expect(held).toMatchObject({ datagrams: 23, dropped: 2 * count - 23 })
  }, 60_000)

  test('more than the socket takes while its process stands still: it may end alone, and nobody is refused', async () => {
    const acting = act([
      hold(queued, { maxPackets: 20_000, maxBytes: 100_000_000 }),
      sh('kill -STOP $(pgrep -P $PPID node)'),
      wait(3000),
      sh('kill -CONT $(pgrep -P $PPID node)'),
      wait(500),
      { do: 'held' },
      { do: 'release' },
    ])
    await untilHeld()
    await client.exec(...node, 'send', JSON.stringify({ targets: [service4], port, count: 15_000, bytes: 40 }))
    const load = await startLoad({ ...steady, count: 50 })
    const done = await acting
    say(`process overrun: ${JSON.stringify(answer(done, 'held'))} ${JSON.stringify(answer(done, 'release'))}`)
    expect((await load.attempts()).filter(({ outcome }) => outcome !== 'A')).toEqual([])
    await nothingLeft()
  }, 60_000)

  test('tunnels and the host itself are let through, and one listener is held once', async () => {
    const reply = (host: NamespaceHost) => host.sh(`timeout 3 socat -u TCP:${service4}:${port} STDOUT || true`)
    const acting = act([hold(queued, { exceptDevices: ['eth1'] }), untilTold, { do: 'held' }, { do: 'release' }])
    await untilHeld()
    expect(await reply(other)).toBe('A')
    expect(await reply(ingress)).toBe('A')
    await go()
    expect(answer(await acting, 'held')).toMatchObject({ syns: 0, datagrams: 0 })
    const twice = await act([hold(queued, { maxMs: 300 }), hold(queued, { maxMs: 300 })]).catch(
      (error: { stdout: string }) => error.stdout,
    )
    expect(twice).toContain('is being held already')
  }, 60_000)
})
