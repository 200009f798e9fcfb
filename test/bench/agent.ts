/** What an agent takes of its host, and how it bears a host with many connections. */
import { type Bench, type BenchTable, median, range } from './bench.js'
import { costOf, type PairsNetwork, pairsFleet, startPairs } from './pairs.js'

const idleSeconds = 20
/** net.netfilter.nf_conntrack_max of the machine itself bounds every namespace's. */
const most = 250_000

export const agentBench: Bench = {
  name: 'agent',
  description: 'memory, idle processor time, start, size; status and a switch with many tracked connections',
  async run({ rounds = 5, say }) {
    const started = await startPairs('agent', 1)
    try {
      await started.network.fleet(pairsFleet(started.pairs))
      await started.network.fleetmove('up')
      return [await itself(started, rounds), await burdened(started, rounds, say)]
    } finally {
      await started.network.end()
    }
  },
}

const pidFile = '/run/fleetmove/agent.pid'

async function itself({ network, pairs }: PairsNetwork, rounds: number): Promise<BenchTable> {
  const host = pairs[0]!.new
  const number = async (script: string): Promise<number> => Number(await network.shell(host, script, 60_000))
  const memory = (): Promise<number> => number(`awk '/^VmRSS/ { print $2 / 1024 }' /proc/$(cat ${pidFile})/status`)
  // Fields 14 and 15 of proc(5)'s stat, in hundredths of a second.
  const used = `awk '{ print $14 + $15 }' /proc/$(cat ${pidFile})/stat`
  const idle = await number(`before=$(${used}); sleep ${idleSeconds}; echo $(($(${used}) - before))`)
  const rss = await memory()
  const starts: number[] = []
  for (let round = 0; round < rounds; round++) {
    starts.push(
      await number(`pid=$(cat ${pidFile}); command=$(tr '\\0' ' ' </proc/$pid/cmdline)
kill $pid; while [ -e /proc/$pid ]; do sleep 0.05; done; rm -f /run/fleetmove/agent.sock
begun=$(date +%s%N); setsid sh -c 'echo $$ >${pidFile}; cd /; exec '"$command" </dev/null >>/var/lib/fleetmove/agent.log 2>&1 &
until [ -S /run/fleetmove/agent.sock ]; do sleep 0.005; done; echo $((($(date +%s%N) - begun) / 1000000))`),
    )
  }
  const disk = await number('du -sb /usr/local/lib/fleetmove | cut -f1')
  const wire = async (kind: string): Promise<number> =>
    Number(await network.shell('controller', `stat -c %s /root/.cache/fleetmove/${kind}-*.tar.gz`))
  return {
    title: 'The agent itself',
    rows: [
      { what: 'memory (RSS) after up, MiB', value: rss.toFixed(0) },
      {
        what: `processor time while idle, % of one core over ${idleSeconds} s`,
        value: (idle / idleSeconds).toFixed(2),
      },
      { what: 'start until it listens, ms', value: range(starts, 0) },
      { what: 'on disk, MB', value: (disk / 1e6).toFixed(1) },
      { what: 'sent once: runtime, MB', value: ((await wire('runtime')) / 1e6).toFixed(1) },
      { what: 'sent for each version: agent, MB', value: ((await wire('agent')) / 1e6).toFixed(2) },
    ],
    notes: [],
  }
}

async function burdened(
  { network, pairs }: PairsNetwork,
  rounds: number,
  say: (text: string) => void,
): Promise<BenchTable> {
  const pair = pairs[0]!
  const service = `web-${pair.old}`
  const rows = []
  for (const entries of [0, most / 10, most]) {
    if (entries > 0) await network.shell(pair.new, established(entries, pair.newAddress, pair.oldAddress), 300_000)
    say(`${entries} tracked connections`)
    const [status, advance, rollback] = [[] as number[], [] as number[], [] as number[]]
    for (let round = 0; round < rounds; round++) {
      status.push((await costOf(network, ['status'])).seconds)
      advance.push((await costOf(network, ['advance', service])).seconds)
      rollback.push((await costOf(network, ['rollback', service])).seconds)
    }
    const peak = Number(
      await network.shell(pair.new, `awk '/^VmHWM/ { print $2 / 1024 }' /proc/$(cat ${pidFile})/status`),
    )
    const counted = Number(await network.shell(pair.new, 'conntrack -C'))
    rows.push({
      'tracked connections': counted,
      'status, s': range(status),
      'advance, s': range(advance),
      'rollback, s': range(rollback),
      'agent’s memory at most, MiB': peak.toFixed(0),
    })
    if (entries > 0) await network.shell(pair.new, 'conntrack -F 2>/dev/null')
  }
  return {
    title: 'A host with many connections',
    rows,
    notes: [
      'established connections of the service itself, which the drain looks for; it waits 1 s for them at most',
      `median of ${median([rounds])}`,
    ],
  }
}

/** Entries as `conntrack -L -o save` writes them, with the mark of what goes into tunnel 1; conntrack(8), "--load-file". */
const established = (count: number, to: string, there: string): string => `perl -e '
for my $n (0 .. ${count - 1}) {
  my ($client, $port) = (sprintf("198.19.%d.%d", ($n / 50000) / 250, 1 + ($n / 50000) % 250), 1024 + $n % 50000);
  print "-A -s $client -d ${to} -r ${there} -q $client -p tcp --sport $port --dport 80 --reply-port-src 80 --reply-port-dst $port --state ESTABLISHED -u SEEN_REPLY,ASSURED -t 3600 -m 50331648\\n";
}' >/root/entries && conntrack -R /root/entries >/dev/null 2>/root/entries.err || { tail -1 /root/entries.err >&2; exit 1; }`
