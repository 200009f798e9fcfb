/** What is written down of a move while it is under way is true: the connection log, figures for Prometheus, `watch`. */
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { WatchedService, WatchFrame } from '../../controller/watch.js'
import { complaints, type Load } from '../load/client-load.js'
import { type ConnectionLog, type LoggedConnection, readConnectionLog, repeated } from './connection-log.js'
import { expectLine } from './expected-line.js'
import { type Family, fallen, parseExposition, sumOf } from './exposition-format.js'
import { type KnownConnection, makeConnections, planConnections } from './known-load.js'
import {
  addressesOf,
  type Event,
  endPractices,
  type Practice,
  type Started,
  startPractice,
  until,
  withRoot,
} from './practice.js'

jest.setTimeout(240_000)
afterAll(endPractices)

const [old4 = '', old6 = ''] = addressesOf('old1')
const [new4 = '', new6 = ''] = addressesOf('new1')
const hosts = ['old1', 'new1'] as const
const socket = '/run/figures/fleetmove.sock'
const file = '/var/lib/prometheus/node-exporter/fleetmove.prom'
const [firstPort, lastPort] = [7100, 7199]
/** So many addresses of one client, each with three flows to each port. */
const burst = { addresses: 40, sockets: 3, flows: 12_000 }
const burstAddresses = Array.from({ length: burst.addresses }, (_, i) => `198.18.0.${101 + i}`)

/** @param more listeners of echo */
const fleet = (metrics: string, more: readonly string[] = []) => ({
  fleet: 'record',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  log: { metrics },
  services: {
    web: {
      ...{ from: 'old1', to: 'new1', listen: ['tcp/80'], drain: '2s' },
      run: { start: 'pgrep -x nginx >/dev/null || nginx', stop: '! pgrep -x nginx >/dev/null || nginx -s quit' },
      health: { http: 'http://127.0.0.1:80/healthz' },
    },
    echo: {
      from: 'old1',
      to: 'new1',
      listen: ['tcp/7001', 'udp/7001', `udp/${firstPort}-${lastPort}`, ...more],
      drain: '5s',
    },
  },
})

/** How long a host's kernel remembers what has ended: by default two minutes, here too short to wait for. */
const forget = (seconds: number): string =>
  ['tcp_timeout_time_wait', 'tcp_timeout_close', 'tcp_timeout_last_ack', 'udp_timeout', 'udp_timeout_stream']
    .map((name) => `sysctl -qw net.netfilter.nf_conntrack_${name}=${seconds}`)
    .join('; ')

withRoot('what is written down', () => {
  let practice: Practice
  let loads: Load[] = []
  /** The last figures of each host. */
  const last = new Map<string, Map<string, Family>>()

  beforeAll(async () => {
    practice = await startPractice(`record-${process.pid}`, async (lab) => {
      await lab.shell('client1', `for a in ${burstAddresses.join(' ')}; do ip addr add $a/32 dev eth0; done`)
      for (const [host, v4, v6] of [
        ['old1', old4, old6],
        ['new1', new4, new6],
      ] as const) {
        await lab.shell(host, `mkdir -p /run/figures ${file.replace(/[^/]*$/, '')}; ${forget(3)}`)
        await lab.serve(host, host, [
          'tcp :: 7001-7002',
          `udp ${v4} 7001`,
          `udp ${v6} 7001`,
          `udp ${v4} ${firstPort}-${lastPort}`,
        ])
      }
    })
    await practice.fleet(fleet(`unix:${socket}`))
    await up()
  })
  afterAll(() => practice.end())

  const up = (): Promise<unknown> => practice.expect('up --log-connections')
  const logged = (host: string) => readConnectionLog(practice, host)
  const ofPorts = (connections: readonly LoggedConnection[], plans: readonly KnownConnection[]) =>
    connections.filter(
      ({ client, clientPort }) => /:11$|\.11$/.test(client) && plans.some((p) => p.from === clientPort),
    )

  /** What a host publishes; no counter has fallen since the last time. */
  async function figures(host: string, way = `curl -sS --fail --unix-socket ${socket} http://fleetmove/metrics`) {
    const now = parseExposition(await practice.shell(host, way))
    expect(fallen(last.get(host) ?? new Map(), now)).toEqual([])
    last.set(host, now)
    return now
  }
  /** Resolves with its first frame. */
  async function watching(words: string): Promise<{ running: Started; seen: WatchFrame[] }> {
    const seen: WatchFrame[] = []
    const running = practice.start(words, {
      onEvent: (event) => void seen.push(event as unknown as WatchFrame),
    })
    await until('a first frame', () => seen.length > 0)
    return { running, seen }
  }

  test('each connection of a known load is one line with all that is true of it, and counted', async () => {
    const addresses = [old4, old6, new4, new6]
    const plans = planConnections(addresses, { echoes: 25, gets: 25, flows: 10 }, 20_000)
    const counted = async (): Promise<(number | undefined)[]> => {
      const [ofOld, ofNew] = [await figures('old1'), await figures('new1')]
      return ['web', 'echo'].flatMap((name) => [
        sumOf(ofOld, 'fleetmove_connections_total', { service: name, way: 'served' }),
        sumOf(ofNew, 'fleetmove_connections_total', { service: name, way: 'forwarded' }),
      ])
    }
    const before = await counted()
    const bytes = () => sumOf(last.get('old1')!, 'fleetmove_tunnel_sent_bytes_total', { peer: 'new1' })!
    const sent = bytes()
    const outcomes = await makeConnections(practice, 'client1', plans)
    expect(outcomes.filter(({ error }) => error !== '')).toEqual([])
    expect((await counted()).map((count, i) => count! - before[i]!)).toEqual([50, 50, 70, 70])
    // All that clients of the new addresses heard came through the tunnel.
    const heard = outcomes.filter((_, i) => [new4, new6].includes(plans[i]!.address)).reduce((n, o) => n + o.heard, 0)
    expect(bytes() - sent).toBeGreaterThan(heard)
    expect(bytes() - sent).toBeLessThan(1.5 * heard)

    let lines: LoggedConnection[] = []
    await until('a line of each', async () => {
      const logs = await Promise.all(hosts.map(logged))
      lines = ofPorts(
        logs.flatMap(({ connections }) => connections),
        plans,
      )
      return lines.length >= plans.length
    })
    expect(lines).toHaveLength(plans.length)
    for (const [i, plan] of plans.entries()) {
      const own = lines.filter(({ clientPort, protocol }) => clientPort === plan.from && protocol === plan.protocol)
      expect(own).toHaveLength(1)
      expectLine(own[0]!, plan, outcomes[i]!, {
        service: plan.kind === 'get' ? 'web' : 'echo',
        forwarded: [new4, new6].includes(plan.address),
      })
    }
  })

  test('an agent that is killed and comes back: nothing is logged twice, what stands across it once', async () => {
    const targets = [`${old4}:7001`, `${new4}:7001`, `${new6}:7001`]
    const end = await practice.hold('client2', targets)
    const before = await logged('new1')
    await practice.shell('new1', 'kill -9 $(cat /run/fleetmove/agent.pid)')
    const without = planConnections([new4, new6], { echoes: 10, gets: 10, flows: 5 }, 21_000)
    for (const { error } of await makeConnections(practice, 'client1', without)) expect(error).toBe('')
    await up()
    const after = planConnections([new4, new6], { echoes: 5, gets: 5, flows: 5 }, 22_000)
    for (const { error } of await makeConnections(practice, 'client1', after)) expect(error).toBe('')
    const greeted = (await end()).map(({ greeting }) => greeting.split(' '))
    const held = (connections: readonly LoggedConnection[]) =>
      connections.filter((each) => greeted.some((g) => g[1] === each.client && Number(g[2]) === each.clientPort))
    await until('the lines of what came after, and of what stood', async () => {
      const logs = await Promise.all(hosts.map(logged))
      const all = logs.flatMap(({ connections }) => connections)
      return ofPorts(all, after).length >= after.length && held(all).length >= targets.length
    })
    const [ofOld, ofNew] = [await logged('old1'), await logged('new1')]
    const all = [...ofOld.connections, ...ofNew.connections]
    expect(repeated(all)).toEqual([])
    expect(ofPorts(all, after)).toHaveLength(after.length)
    expect(
      held(all)
        .map(({ address }) => address)
        .sort(),
    ).toEqual([new4, new6, old4].sort())
    // What was written before stays as it was; from when on something is known is said.
    expect(ofNew.text.startsWith(before.text)).toBe(true)
    expect([ofOld.begun, ofNew.begun]).toEqual([1, 2])
    // And the socket is the new one's, with counters that have gone on.
    expect(sumOf(await figures('new1'), 'fleetmove_service_stage', { stage: 'forwarding' })).toBe(2)
  })

  test('more than it may write at once: as many as it may, and how many were too many', async () => {
    await practice.shell('old1', forget(120))
    const program = join(__dirname, 'fixtures', 'many-flows.mjs')
    const words = [burst.sockets, `${old4}:${firstPort}-${lastPort}`, ...burstAddresses]
    expect(Number(await practice.shell('client1', `node ${program} ${words.join(' ')}`, 90_000))).toBe(burst.flows)
    const before = await logged('old1')
    // One address after the other: the kernel may keep no more than 400 KiB of what nobody has read yet.
    const began = performance.now()
    await practice.shell(
      'old1',
      `for client in ${burstAddresses.join(' ')}; do conntrack -D -s $client; done >/dev/null 2>&1; ${forget(3)}`,
    )
    const seconds = (performance.now() - began) / 1000
    const isOfBurst = ({ client }: LoggedConnection): boolean => burstAddresses.includes(client)
    const leftOut = (log: ConnectionLog): number => log.leftOut.reduce((sum, count) => sum + count, 0)
    let log = before
    await until('all of them to be told of', async () => {
      log = await logged('old1')
      return log.connections.filter(isOfBurst).length + leftOut(log) >= burst.flows
    })
    const written = log.connections.filter(isOfBurst).length
    process.stderr.write(`measured: ${written} lines in ${seconds.toFixed(1)} s, ${leftOut(log)} left out\n`)
    expect(written + leftOut(log)).toBe(burst.flows)
    expect(leftOut(log)).toBeGreaterThan(0)
    expect(written).toBeGreaterThanOrEqual(5000)
    expect(written).toBeLessThan(5000 + 1000 * (seconds + 1))
    expect(repeated(log.connections)).toEqual([])
    expect(log.begun).toBe(before.begun)
  })

  const frames = (events: readonly Event[]): WatchFrame[] => events as unknown as WatchFrame[]
  const service = (frame: WatchFrame | undefined, name: string) =>
    frame?.services.find((each) => each.name === name) as WatchedService
  const stateOf = (frame: WatchFrame | undefined, host: string) => frame?.hosts.find((each) => each.host === host)
  const mean = (values: readonly (number | null)[]): number =>
    values.reduce<number>((sum, value) => sum + (value ?? Number.NaN), 0) / values.length
  /** Within so large a share of it, for machines are busy. */
  const expectAbout = (value: number, wanted: number, share = 0.25): void => {
    expect(value).toBeGreaterThan(wanted * (1 - share))
    expect(value).toBeLessThan(wanted * (1 + share))
  }

  test('watch: rates and shares by address, as often as it was told; and what it refuses', async () => {
    loads = [
      await practice.load('client1', { targets: [old4, old6], perSecond: 20, seconds: 900 }),
      await practice.load('client2', { targets: [new4, new6], perSecond: 5, seconds: 900 }),
    ]
    const { events } = await practice.expect('watch --count 6')
    const seen = frames(events)
    expect(seen.map(({ fleet }) => fleet)).toEqual(Array(6).fill('record'))
    const web = seen.map((frame) => service(frame, 'web'))
    expectAbout(mean(web.map(({ byOld }) => byOld)), 40)
    expectAbout(mean(web.map(({ byNew }) => byNew)), 10)
    expectAbout(web.at(-1)!.oldShare!, 0.8, 0.1)
    expect(web.at(-1)).toMatchObject({ stage: 'forwarding', active: 'old1', standing: 0 })
    expect(web.at(-1)!.trend.byOld).toEqual(web.map(({ byOld }) => byOld))
    expect(service(seen.at(-1), 'echo')).toMatchObject({ byOld: 0, byNew: 0, oldShare: null })
    for (const { hosts: states, tunnels } of seen) {
      expect(states.map(({ state }) => state)).toEqual(['watched', 'watched'])
      expect(tunnels).toEqual([expect.objectContaining({ a: 'new1', b: 'old1', rttMs: expect.any(Number) })])
    }
    const { stdout } = await practice.must('watch', 'web', '--count', '3', '--interval', '500ms')
    const line =
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ {2}web {2}forwarding on old1, old ([\d.]+)\/s, new ([\d.]+)\/s, by old (\d+) %, drain 0, open \d+, tunnel [\d.]+ ms, [<\d]+ % lost$/
    const told = stdout
      .trimEnd()
      .split('\n')
      .map((text) => line.exec(text))
    expect(told.map((match) => match !== null)).toEqual([true, true, true])
    expectAbout(mean(told.map((match) => Number(match![1]))), 40, 0.5)
    expectAbout(Number(told[2]![3]), 80, 0.2)
    for (const words of ['watch nobody', 'watch --interval 10ms', 'watch --count 0'])
      expect((await practice.fleetmove(...words.split(' '))).code).toBe(64)
  })

  test('a switch: the drain in watch and in the figures, and no counter falls', async () => {
    const targets = [`${old4}:7001`, `${old6}:7001`, `${new4}:7001`]
    const end = await practice.hold('client2', targets)
    expect(sumOf(await figures('new1'), 'fleetmove_forwarded_connections', { service: 'echo' })).toBe(1)
    expect(sumOf(await figures('old1'), 'fleetmove_forwarded_connections', { service: 'echo' })).toBe(0)
    const { running, seen } = await watching('watch --interval 500ms')
    let draining = 0
    const state = { advanced: false }
    const advancing = practice.expect('advance --all').finally(() => {
      state.advanced = true
    })
    while (!state.advanced) {
      await figures('new1')
      const now = sumOf(await figures('old1'), 'fleetmove_draining_connections', { service: 'echo' })
      draining = Math.max(draining, now ?? 0)
      // No more of the machine than a collector that asks often.
      await setTimeout(250)
    }
    await advancing
    for (const held of await end()) expect(held).toMatchObject({ error: '' })
    expect({ draining }).toEqual({ draining: targets.length })
    for (const [host, active] of [
      ['old1', 0],
      ['new1', 1],
    ] as const) {
      const now = await figures(host)
      for (const name of ['web', 'echo']) {
        expect(sumOf(now, 'fleetmove_service_stage', { service: name, stage: 'moved' })).toBe(1)
        expect(sumOf(now, 'fleetmove_service_active', { service: name })).toBe(active)
      }
      expect(sumOf(now, 'fleetmove_tunnel_up')).toBe(1)
      expect(sumOf(now, 'fleetmove_tunnel_round_trip_seconds')).toBeGreaterThan(0)
    }
    await until('a frame of what has moved', () => service(seen.at(-1), 'echo').stage === 'moved')
    const drained = seen
      .map((frame) => service(frame, 'echo'))
      .filter(({ stage, standing }) => stage === 'moving' && standing > 0)
    expect(drained.length).toBeGreaterThan(0)
    expect(drained.map(({ standing }) => standing)).toEqual(drained.map(() => targets.length))
    expect(['198.18.0.12', '2001:db8:c::12']).toContain(drained.at(-1)!.oldest?.client)
    expect(service(seen.at(-1), 'echo')).toMatchObject({ active: 'new1', standing: 0, oldest: null })
    // By the address that was used, whoever answers.
    expectAbout(service(seen.at(-1), 'web').oldShare!, 0.8, 0.1)
    running.signal('SIGINT')
    expect((await running.ended).code).toBe(0)
  })

  test('a text file in place of the socket, and a listener more: both go on where they were', async () => {
    const begun = async () => (await Promise.all(hosts.map(logged))).map((log) => log.begun)
    const before = await begun()
    await practice.fleet(fleet(file, ['tcp/7002']))
    await up()
    for (const host of hosts) {
      expect(await practice.shell(host, `ls ${socket} 2>&1 || true`)).toContain('No such file')
      const now = await figures(host, `cat ${file}`)
      expect(sumOf(now, 'fleetmove_service_stage', { stage: 'moved' })).toBe(2)
    }
    const plans = [old4, new6].map((address, i): KnownConnection => {
      return { kind: 'echo', protocol: 'tcp', address, port: 7002, from: 23_000 + i, bytes: 10 }
    })
    for (const { error } of await makeConnections(practice, 'client1', plans)) expect(error).toBe('')
    let lines: LoggedConnection[] = []
    await until('the lines of the new listener', async () => {
      lines = ofPorts(
        (await Promise.all(hosts.map(logged))).flatMap(({ connections }) => connections),
        plans,
      )
      return lines.length >= plans.length
    })
    expect(lines.map(({ address, port, forwarded }) => [address, port, forwarded])).toEqual([
      [old4, 7002, true],
      [new6, 7002, false],
    ])
    // The process that writes it has not been started anew, which would have lost what ended meanwhile.
    expect(await begun()).toEqual(before)
  })

  test('a host that cannot be reached: it is said, the other one still shown, and later both', async () => {
    const { running, seen } = await watching('watch web')
    await practice.lab.cut('controller', 'old1')
    const later = practice.expect('watch web --count 2')
    await until('old1 to be missed', () => stateOf(seen.at(-1), 'old1')?.state === 'unreachable')
    const missed = seen.at(-1)
    expect(stateOf(missed, 'old1')!.detail).not.toBe('')
    expect(stateOf(missed, 'new1')!.state).toBe('watched')
    expect(service(missed, 'web')).toMatchObject({ stage: 'moved', active: 'new1', byOld: null })
    expect(service(missed, 'web').byNew).toBeGreaterThan(0)
    expectAbout(service(missed, 'web').oldShare!, 0.8, 0.1)
    const blind = frames((await later).events)
    expect(blind).toHaveLength(2)
    for (const frame of blind) {
      expect(stateOf(frame, 'old1')!.state).toBe('unreachable')
      // Nobody is known to have come by it, and nobody not to have.
      expect(service(frame, 'web')).toMatchObject({ stage: 'moved', active: 'new1', byOld: null, oldShare: null })
      expect(service(frame, 'web').byNew).toBeGreaterThan(0)
    }
    await practice.lab.heal('controller', 'old1')
    await until('old1 to be back', () => typeof service(seen.at(-1), 'web').byOld === 'number')
    expect(stateOf(seen.at(-1), 'old1')).toEqual({ host: 'old1', state: 'watched', detail: '' })
    running.signal('SIGTERM')
    expect((await running.ended).code).toBe(0)
  })

  test('finalize and down leave neither file nor socket nor anything else', async () => {
    // Written again by now, with what came since.
    const before = sumOf(last.get('old1')!, 'fleetmove_connections_total', { service: 'web', way: 'forwarded' })!
    await until('the next figures', async () => {
      const now = await figures('old1', `cat ${file}`)
      return sumOf(now, 'fleetmove_connections_total', { service: 'web', way: 'forwarded' })! > before
    })
    const reports = await Promise.all(loads.map((load) => load.stop()))
    expect(complaints(reports.flat())).toEqual([])
    await practice.expect('finalize --force')
    expect(await practice.leftovers()).toEqual([])
    await practice.reset()
    await practice.fleet(fleet(`unix:${socket}`))
    await up()
    last.clear()
    expect(sumOf(await figures('old1'), 'fleetmove_service_active', { service: 'web' })).toBe(1)
    await practice.expect('down')
    for (const host of hosts)
      await practice.shell(host, 'test -z "$(ls -A /run/figures)" && test ! -e /var/lib/fleetmove')
  })
})
