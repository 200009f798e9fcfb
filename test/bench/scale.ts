/** Does it stay as quick with many listeners, and how does it grow with many hosts? */
import { type Bench, type BenchOptions, type BenchTable, median, range } from './bench.js'
import { server } from './forward-ways.js'
import { costOf, pairsFleet, startPairs } from './pairs.js'
import { closing, wrk } from './wrk.js'

const listeners = [10, 100, 1000, 10_000]
const hosts = [2, 10, 50]

export const scaleBench: Bench = {
  name: 'scale',
  description: '10 to 10,000 listeners: rules, new connections, a switch; 2 to 50 hosts: up, status, verify, a wave',
  run: async (options) => [await manyListeners(options), await manyHosts(options)],
}

async function manyListeners({ rounds = 5, say }: BenchOptions): Promise<BenchTable> {
  const { network, pairs } = await startPairs('listeners', 1)
  const pair = pairs[0]!
  try {
    // The first port of each range is proved.
    const both = server.replace('listen 8080', 'listen 20000;\n    listen 8080')
    for (const host of [pair.old, pair.new]) await network.shell(host, both)
    const rows = []
    for (const count of listeners) {
      const whole = pairsFleet(pairs)
      await network.fleet({
        ...whole,
        services: {
          web: {
            ...{ from: pair.old, to: pair.new, strategy: 'rolling', drain: '1s' },
            // 8080 is the one that is asked.
            listen: ['tcp/8080', `tcp/20000-${20000 + count - 2}`],
            ...{ run: { start: 'true', stop: 'true' }, health: { command: 'true' } },
          },
        },
      })
      const up = await costOf(network, ['up'])
      const [opened, switched, advanced] = [[] as number[], [] as number[], [] as number[]]
      for (let round = 0; round < rounds; round++) {
        const asked = await wrk(network, 16, `http://${pair.newAddress}:8080/`, closing)
        opened.push(asked.requests / asked.seconds)
        for (const command of ['advance', 'rollback']) {
          const begun = performance.now()
          const events = await network.fleetmove(command, 'web')
          advanced.push((performance.now() - begun) / 1000)
          switched.push((events.at(-1)!.services as { switchMs: number }[])[0]!.switchMs)
        }
        say(
          `${count} listeners, round ${round + 1}: ${opened.at(-1)!.toFixed(0)} connections/s, switch ${switched.at(-1)} ms`,
        )
      }
      const rules = await network.shell(pair.new, 'nft list table inet fleetmove')
      rows.push({
        listeners: count,
        'rules in the table': rulesIn(rules),
        'up, s': up.seconds.toFixed(1),
        'new connections/s': range(opened, 0),
        'switch, ms': range(switched, 0),
        'advance or rollback, s': range(advanced, 1),
      })
      await costOf(network, ['down', '--yes'])
    }
    return {
      title: 'Listeners of one service',
      rows,
      notes: [
        'new connections: to one of them by the forwarder',
        'switch: from the first host that changes to the last',
      ],
    }
  } finally {
    await network.end()
  }
}

/** Lines of a listing that are no declaration, no bracket and no element. */
const rulesIn = (listing: string): number =>
  [...listing.matchAll(/chain \S+ \{\n(?<body>[^}]*(?:\{[^}]*\}[^}]*)*?)\n\t\}/g)]
    .flatMap((chain) => chain.groups!.body!.split('\n'))
    .filter((line) => line.trim() !== '' && !/^\s*type \w+ hook/.test(line)).length

async function manyHosts({ rounds = 1, say }: BenchOptions): Promise<BenchTable> {
  const rows = []
  for (const count of hosts) {
    const { network, pairs } = await startPairs(`hosts-${count}`, count / 2)
    try {
      await network.fleet(pairsFleet(pairs))
      // Packs the archives, once for all times to come; on as many hosts as are measured, since that is simplest.
      const commands: Record<string, string[]> = {
        'up, cold': ['up'],
        'up, nothing to do': ['up'],
        status: ['status'],
        verify: ['verify'],
        'one wave': ['advance', '--all', '--parallel', String(count / 2)],
        down: ['down', '--yes'],
      }
      await costOf(network, commands['up, cold']!)
      await costOf(network, commands.down!)
      const costs = new Map(Object.keys(commands).map((name) => [name, [] as Awaited<ReturnType<typeof costOf>>[]]))
      for (let round = 0; round < rounds; round++) {
        for (const [name, words] of Object.entries(commands)) costs.get(name)!.push(await costOf(network, words))
      }
      for (const [command, all] of costs) {
        const of = (key: 'seconds' | 'cpuSeconds' | 'mebibytes') => median(all.map((cost) => cost[key]))
        rows.push({
          hosts: count,
          command,
          s: of('seconds').toFixed(1),
          'controller’s CPU, s': of('cpuSeconds').toFixed(1),
          'its memory at most, MiB': of('mebibytes').toFixed(0),
          's a host': (of('seconds') / count).toFixed(2),
        })
        say(`${count} hosts, ${command}: ${of('seconds').toFixed(1)} s`)
      }
    } finally {
      await network.end()
    }
  }
  return {
    title: 'Hosts, each pair with a service',
    rows,
    notes: ['all hosts, agents and the controller share this machine'],
  }
}
