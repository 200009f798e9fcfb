/** What a forwarded connection costs: beside none, beside the fewest rules that can do it, and beside proxies. */
import { execFileSync } from 'node:child_process'
import { type Bench, type BenchOptions, type BenchTable, range } from './bench.js'
import { ProcessorTime } from './cpu.js'
import {
  type Driver,
  drivers,
  fleet,
  newAddress,
  newEnd,
  oldAddress,
  oldEnd,
  port,
  proxies,
  type Rules,
  server,
  startProxies,
  useRules,
} from './forward-ways.js'
import { PracticeNetwork } from './practice-network.js'
import { closing, wrk } from './wrk.js'

interface Way {
  name: string
  driver: Driver
  rules: Rules
  target: string
}

const ways: Way[] = [
  { name: 'direct: no forwarder', driver: 'direct', rules: 'none', target: `${oldAddress}:${port}` },
  ...drivers.flatMap((driver) =>
    (['hand-written', 'fleetmove'] as const).map((rules) => ({
      name: `${rules}, ${driver === 'direct' ? 'plain link' : driver}`,
      ...{ driver, rules, target: `${newAddress}:${port}` },
    })),
  ),
  ...Object.entries(proxies).map(([name, at]) => ({
    ...{ name, driver: 'direct' as const, rules: 'none' as const, target: `${newAddress}:${at}` },
  })),
]

/** Of one way in one round. */
interface Figures {
  megabytes: number
  cpuPerGb: number
  connections: number
  cpuPerThousand: number
  p50: number
  p99: number
}

interface Network {
  network: PracticeNetwork
  device: string
  mtu: number
}

export const forwardBench: Bench = {
  name: 'forward',
  description:
    'throughput, new connections, latency and processor time by each tunnel, beside hand-written rules and proxies',
  async run(options) {
    const rounds = options.rounds ?? 7
    const time = ProcessorTime.start()
    const networks = new Map<Driver, Network>()
    try {
      for (const driver of drivers) networks.set(driver, await start(driver, options))
      const measured = new Map(ways.map(({ name }) => [name, [] as Figures[]]))
      for (let round = 1; round <= rounds; round++) {
        for (const way of ways) {
          const figures = await measure(networks.get(way.driver)!, way, time)
          measured.get(way.name)!.push(figures)
          options.say(`round ${round} of ${rounds}, ${way.name}: ${shown(figures)}`)
        }
      }
      return tables(measured)
    } finally {
      for (const { network } of networks.values()) await network.end()
      time.end()
    }
  },
}

/** A network of its own for each tunnel, so that the rounds can alternate between them. */
async function start(driver: Driver, { say }: BenchOptions): Promise<Network> {
  const network = await PracticeNetwork.start(`forward-${driver}`, process.cwd())
  try {
    say(`practice network ${network.lab.name}`)
    await network.shell('old1', server)
    if (driver === 'direct') {
      await link(network)
      await network.shell('new1', startProxies)
    }
    await network.fleet(fleet(driver))
    await network.fleetmove('up')
    const shown = await network.shell('new1', 'ip -o route show table 5181')
    const device = / dev (\S+)/.exec(shown)![1]!
    const mtu = Number(await network.shell('new1', `cat /sys/class/net/${device}/mtu`))
    // It would put back what we take away to compare.
    for (const host of ['old1', 'new1']) await network.shell(host, 'kill -STOP $(cat /run/fleetmove/agent.pid)')
    return { network, device, mtu }
  } catch (error) {
    await network.end()
    throw error
  }
}

async function link(network: PracticeNetwork): Promise<void> {
  const [oldPid, newPid] = ['old1', 'new1'].map((host) => String(network.lab.pid(host)))
  execFileSync('ip', [
    'link',
    'add',
    'cable0',
    'netns',
    oldPid!,
    'type',
    'veth',
    'peer',
    'name',
    'cable0',
    'netns',
    newPid!,
  ])
  for (const [host, end] of [
    ['old1', oldEnd],
    ['new1', newEnd],
  ])
    await network.shell(
      host!,
      `echo 0 >/proc/sys/net/ipv6/conf/cable0/accept_dad; ip link set cable0 up && ip addr add ${end}/30 dev cable0`,
    )
  for (const host of ['old1', 'new1'])
    await network.shell(
      host,
      'until ip -6 addr show dev cable0 scope link -tentative | grep -q fe80; do sleep 0.1; done',
    )
}

async function measure({ network, device, mtu }: Network, way: Way, time: ProcessorTime): Promise<Figures> {
  for (const host of ['old1', 'new1'] as const) {
    await network.lab.exec(host, ['tee', '/root/rules'], { input: useRules(way.rules, host, device, mtu) })
    await network.shell(host, 'nft -f /root/rules && conntrack -F 2>/dev/null')
  }
  const asks = async (connections: number, path: string, ...more: string[]) => {
    const before = time.seconds()
    const seen = await wrk(network, connections, `http://${way.target}${path}`, more)
    return { ...seen, cpu: time.seconds() - before }
  }
  const big = await asks(4, '/big')
  const opened = await asks(16, '/', ...closing)
  const asked = await asks(1, '/')
  return {
    megabytes: big.bytes / 1e6 / big.seconds,
    cpuPerGb: big.cpu / (big.bytes / 1e9),
    connections: opened.requests / opened.seconds,
    cpuPerThousand: opened.cpu / (opened.requests / 1e3),
    ...{ p50: asked.p50, p99: asked.p99 },
  }
}

const shown = (figures: Figures): string =>
  Object.entries(figures)
    .map(([key, value]) => `${key} ${value.toPrecision(3)}`)
    .join(', ')

function tables(measured: ReadonlyMap<string, Figures[]>): BenchTable[] {
  const of = (name: string, key: keyof Figures): number[] => measured.get(name)!.map((figures) => figures[key])
  /** Round by round, since the machine's other work changes from one to the next. */
  const ratio = (name: string, base: string, key: keyof Figures): string =>
    range(of(name, key).map((value, round) => value / of(base, key)[round]!))
  const direct = ways[0]!.name
  return [
    {
      title: 'Through a forwarder',
      rows: ways.map(({ name }) => ({
        way: name,
        'MB/s': range(of(name, 'megabytes'), 0),
        'CPU s per GB': range(of(name, 'cpuPerGb')),
        'new connections/s': range(of(name, 'connections'), 0),
        'CPU s per 1,000 connections': range(of(name, 'cpuPerThousand')),
        'request p50 ms': range(of(name, 'p50')),
        'p99 ms': range(of(name, 'p99')),
      })),
      notes: [
        'medians (least to most); client, router, both hosts and the server share this machine',
        'CPU: of client, server, forwarder and the packets between them together; of nothing else on the machine',
        'proxies go to the old host in the clear, and show it their own address instead of the client’s',
      ],
    },
    {
      title: 'Ratios to no forwarder, round by round: more is better for the first two, less for the others',
      rows: ways.slice(1).map(({ name }) => ratios(name, (key) => ratio(name, direct, key))),
      notes: [],
    },
    {
      title: 'fleetmove’s ratios to hand-written rules on the same tunnel: the least that can be done',
      rows: ways
        .filter(({ rules }) => rules === 'fleetmove')
        .map(({ name }) => ratios(name, (key) => ratio(name, name.replace('fleetmove', 'hand-written'), key))),
      notes: [],
    },
  ]
}

const ratios = (way: string, ratio: (key: keyof Figures) => string) => ({
  way,
  throughput: ratio('megabytes'),
  'new connections': ratio('connections'),
  'CPU per GB': ratio('cpuPerGb'),
  'CPU per connection': ratio('cpuPerThousand'),
  'request p50': ratio('p50'),
})
