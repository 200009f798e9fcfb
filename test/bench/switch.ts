/** The switch under load: does anybody fail, and how long does who connects just then wait? */
import type { TargetReport } from '../load/client-load.js'
import { type Bench, type BenchOptions, type BenchTable, spread } from './bench.js'
import { type Event, PracticeNetwork } from './practice-network.js'

const [old4, old6] = ['203.0.113.10', '2001:db8:a::10']
const [new4, new6] = ['198.51.100.10', '2001:db8:b::10']
const targets = [old4, new4, old6, new6]
/** To each of the four addresses: 200 a second together. */
const perSecond = 50
const balancer = '203.0.113.20'

/** nginx, which tells when it was stopped (from then on it refuses) and when it took connections again. */
const stopped = '/run/stopped'
const started = '/run/started'
const stop = `date +%s%N >${stopped}; nginx -s stop; while pgrep -x nginx >/dev/null; do sleep 0.01; done`
const start = `nginx && date +%s%N >${started}`

const fleet = (strategy: 'rolling' | 'recreate') => ({
  fleet: 'bench',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: {
    web: {
      ...{ from: 'old1', to: 'new1', listen: ['tcp/80'], strategy, drain: '5s' },
      run:
        strategy === 'recreate'
          ? { start, stop }
          : { start: 'pgrep -x nginx >/dev/null || nginx', stop: '! pgrep -x nginx >/dev/null || nginx -s quit' },
      ...(strategy === 'recreate' ? { hold: '15s' } : {}),
    },
  },
})

/** As on a kernel without a packet queue. */
const withoutQueue = `for tool in nft iptables ip6tables; do
  printf '#!/bin/sh\\nfor each; do case "$each" in NFQUEUE) exit 1;; *.nft) grep -q "queue" "$each" && exit 1;; esac; done\\nexec %s "$@"\\n' "$(command -v $tool)" >/usr/local/sbin/$tool.new
  chmod 755 /usr/local/sbin/$tool.new && mv /usr/local/sbin/$tool.new /usr/local/sbin/$tool
done`

interface Round {
  reports: TargetReport[]
  events: Event[]
  /** From the stop to the service's own start, in ms; 0 where it never stops. */
  ownMs: number
}

export const switchBench: Bench = {
  name: 'switch',
  description:
    'moves there and back under 200 new connections a second: rolling, recreate with hold and with SYN drop, HAProxy’s reload',
  async run(options) {
    const rounds = options.rounds ?? 50
    // These take longer, and differ less.
    const own = Math.max(1, Math.ceil(rounds / 5))
    const rolling = await inNetwork(options, 'rolling', (network) => moves(network, rounds, options))
    const { held, dropped } = await recreate(own, options)
    const reloads = await inNetwork(options, 'rolling', (network) => reload(network, rounds, options))
    return [rollingTable(rolling, reloads), recreateTable(held, dropped, reloads)]
  },
}

export const recreateBench: Bench = {
  name: 'recreate',
  description:
    'of `switch` the recreate service alone: held in a packet queue and by SYN drop, by turns, and HAProxy’s reload',
  async run(options) {
    const rounds = options.rounds ?? 20
    const { held, dropped } = await recreate(rounds, options)
    const reloads = await inNetwork(options, 'rolling', (network) => reload(network, rounds, options))
    return [recreateTable(held, dropped, reloads)]
  },
}

/** By turns, in two networks: what else the machine does meanwhile falls on both alike. */
const recreate = (rounds: number, options: BenchOptions): Promise<{ held: Round[]; dropped: Round[] }> =>
  inNetwork(options, 'recreate', (queueing) =>
    inNetwork(options, 'recreate', async (dropping) => {
      for (const host of ['old1', 'new1']) await dropping.shell(host, withoutQueue)
      const [held, dropped]: [Round[], Round[]] = [[], []]
      for (let i = 0; i < rounds; i++) {
        held.push(...(await moves(queueing, 1, options)))
        dropped.push(...(await moves(dropping, 1, options)))
      }
      return { held, dropped }
    }),
  )

let networks = 0

async function inNetwork<T>(
  { say }: BenchOptions,
  strategy: 'rolling' | 'recreate',
  work: (network: PracticeNetwork) => Promise<T>,
): Promise<T> {
  const network = await PracticeNetwork.start(`switch${networks++}`, process.cwd())
  try {
    say(`practice network ${network.lab.name}, strategy ${strategy}`)
    await network.fleet(fleet(strategy))
    await network.fleetmove('up')
    return await work(network)
  } finally {
    await network.end()
  }
}

/** There and back, so often. */
async function moves(network: PracticeNetwork, rounds: number, { say }: BenchOptions): Promise<Round[]> {
  const done: Round[] = []
  for (let i = 0; i < 2 * rounds; i++) {
    const [command, from, to] = i % 2 === 0 ? ['advance', 'old1', 'new1'] : ['rollback', 'new1', 'old1']
    let events: Event[] = []
    const reports = await network.underLoad('client1', targets, perSecond, async () => {
      events = await network.fleetmove(command!, 'web')
    })
    const stopsAndStarts = events.some(({ what }) => what === 'hold new clients')
    const at = async (host: string, file: string): Promise<number> =>
      Number(BigInt((await network.shell(host, `cat ${file}`)).trim()) / 1000n) / 1000
    const ownMs = stopsAndStarts ? (await at(to!, started)) - (await at(from!, stopped)) : 0
    done.push({ reports, events, ownMs })
    say(
      `${i + 1} of ${2 * rounds}: longest connect ${longest(reports)} ms${ownMs > 0 ? `, the service's own gap ${ownMs.toFixed(0)} ms` : ''}`,
    )
  }
  return done
}

/** HAProxy in front, reloaded as often as the rolling service was moved. */
async function reload(network: PracticeNetwork, rounds: number, { say }: BenchOptions): Promise<Round[]> {
  await network.shell(
    'old2',
    `nginx -s stop; while pgrep -x nginx >/dev/null; do sleep 0.05; done
     mkdir -p /run/balancer; cat >/run/balancer/conf <<'END'
global
  stats socket /run/balancer/socket level admin expose-fd listeners
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen web
  bind ${balancer}:80
  server old ${old4}:80
END
     haproxy -D -f /run/balancer/conf -p /run/balancer/pid`,
  )
  const done: Round[] = []
  for (let i = 0; i < 2 * rounds; i++) {
    const reports = await network.underLoad('client1', [balancer], 4 * perSecond, async () => {
      await network.shell(
        'old2',
        'haproxy -D -f /run/balancer/conf -p /run/balancer/pid -x /run/balancer/socket -sf $(cat /run/balancer/pid)',
      )
    })
    done.push({ reports, events: [], ownMs: 0 })
    say(`reload ${i + 1} of ${2 * rounds}: longest connect ${longest(reports)} ms`)
  }
  return done
}

const longest = (reports: readonly TargetReport[]): number => Math.max(...reports.map((each) => each.longest))
const sum = (rounds: readonly Round[], pick: (report: TargetReport) => number): number =>
  rounds.reduce((all, { reports }) => all + reports.reduce((n, report) => n + pick(report), 0), 0)

const outcome = (rounds: readonly Round[]) => ({
  times: rounds.length,
  connections: sum(rounds, ({ connections }) => connections),
  failed: sum(rounds, ({ failed }) => failed),
  // 500 to one address wait already: the load's own limit.
  'not opened': sum(rounds, ({ held }) => held),
  'wrong address': sum(rounds, ({ wrongSource }) => wrongSource),
})

function rollingTable(moved: readonly Round[], reloads: readonly Round[]): BenchTable {
  const switches = moved.map(({ events }) => (events.at(-1)!.services as { switchMs: number }[])[0]!.switchMs)
  const row = (what: string, rounds: readonly Round[], took: string) => ({
    ...{ what, ...outcome(rounds) },
    'longest connect each time, ms (p50 / p99 / max)': spread(rounds.map(({ reports }) => longest(reports))),
    'switch, ms (p50 / p99 / max)': took,
  })
  return {
    title: 'Rolling: both sides run, new connections change sides',
    rows: [row('fleetmove, there and back', moved, spread(switches)), row("HAProxy's reload (-sf, -x)", reloads, '')],
    notes: [
      `${4 * perSecond} new connections a second, over both addresses and families; HAProxy: over one address`,
      'wrong address: the server saw another client address than the client has; through HAProxy it always sees HAProxy',
    ],
  }
}

function recreateTable(held: readonly Round[], dropped: readonly Round[], reloads: readonly Round[]): BenchTable {
  const part = ({ events }: Round, what: RegExp): number =>
    events.reduce((ms, event) => ms + (event.type === 'end' && what.test(event.what ?? '') ? (event.ms ?? 0) : 0), 0)
  const row = (what: string, rounds: readonly Round[]) => {
    const over = (pick: (round: Round) => number): string => spread(rounds.map(pick))
    return {
      ...{ what, ...outcome(rounds) },
      'own gap, ms': over(({ ownMs }) => ownMs),
      'longest connect, ms': over(({ reports }) => longest(reports)),
      'longest connect - own gap, ms': over(({ reports, ownMs }) => longest(reports) - ownMs),
      'of it drain, ms': over((round) => part(round, /^drain/)),
      'health, ms': over((round) => part(round, /^health/)),
      'switch and release, ms': over((round) => part(round, /^switch/)),
      'longest connect - hold, ms': over((round) => longest(round.reports) - part(round, /^hold/)),
    }
  }
  return {
    title: 'Recreate: stopped on one side, then started on the other (p50 / p99 / max)',
    rows: [
      row('fleetmove, hold in a packet queue', held),
      row('fleetmove, SYN drop', dropped),
      row("HAProxy's reload (nothing stops)", reloads),
    ],
    notes: [
      'own gap: from the stop command to the end of the start command, as the service itself takes',
      'longest connect - hold: what waiting in the queue costs beyond the time between hold and release; negative, for nobody waits from its very first moment to its last',
    ],
  }
}
