/** `up` beside Ansible with the same recipe, and beside the bare cost of SSH and the upload. */
import { type Bench, type BenchTable, median, range } from './bench.js'
import { costOf, type Pair, type PairsNetwork, pairsFleet, startPairs } from './pairs.js'
import { configuration, inventory, playbook, undo } from './setup-recipe.js'

const sizes = [2, 10]

interface Times {
  fleetmove: number[]
  ansible: number[]
  bare: number[]
}

export const setupBench: Bench = {
  name: 'setup',
  description: 'up for 2 and 10 hosts, cold and with nothing left to do, beside Ansible and beside bare SSH',
  async run({ rounds = 5, say }) {
    const tables: BenchTable[] = []
    for (const size of sizes) {
      const { network, pairs } = await startPairs(`setup-${size}`, size / 2)
      try {
        const [cold, again] = [emptyTimes(), emptyTimes()]
        await prepare({ network, pairs })
        // Packs the archives, once for all times to come.
        await costOf(network, ['up'])
        await costOf(network, ['down', '--yes'])
        for (let round = 1; round <= rounds; round++) {
          cold.fleetmove.push((await costOf(network, ['up'])).seconds)
          again.fleetmove.push((await costOf(network, ['up'])).seconds)
          await costOf(network, ['down', '--yes'])
          const play = () =>
            timed(() => network.shell('controller', 'cd /root/ansible && ansible-playbook play.json', 900_000))
          cold.ansible.push(await play())
          again.ansible.push(await play())
          for (const host of hosts(pairs)) await network.shell(host, undo)
          cold.bare.push(await timed(() => network.shell('controller', bare(pairs, true), 300_000)))
          again.bare.push(await timed(() => network.shell('controller', bare(pairs, false), 300_000)))
          for (const host of hosts(pairs)) await network.shell(host, 'rm -rf /usr/local/lib/bare')
          const last = (times: Times) =>
            Object.entries(times).map(([name, all]) => `${name} ${all.at(-1)!.toFixed(1)} s`)
          say(`round ${round} of ${rounds}, ${size} hosts: cold ${last(cold)}; again ${last(again)}`)
        }
        tables.push(table(size, cold, again))
      } finally {
        await network.end()
      }
    }
    return tables
  },
}

const emptyTimes = (): Times => ({ fleetmove: [], ansible: [], bare: [] })
const hosts = (pairs: readonly Pair[]): string[] => pairs.flatMap((pair) => [pair.old, pair.new])

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return (performance.now() - begun) / 1000
}

async function prepare({ network, pairs }: PairsNetwork): Promise<void> {
  await network.fleet(pairsFleet(pairs))
  const put = (name: string, text: string) =>
    network.lab.exec('controller', ['tee', `/root/ansible/${name}`], { input: text })
  await network.shell('controller', 'mkdir -p /root/ansible')
  await put('ansible.cfg', configuration(2 * pairs.length))
  await put('inventory', inventory(pairs))
  await put('play.json', JSON.stringify(playbook))
}

/** To all hosts at once: a connection, and the archives of fleetmove over it. */
function bare(pairs: readonly Pair[], upload: boolean): string {
  const what = upload
    ? `'mkdir -p /usr/local/lib/bare; cat >/usr/local/lib/bare/archives' < <(cat /root/.cache/fleetmove/*.tar.gz)`
    : 'true </dev/null'
  const addresses = pairs.flatMap((pair) => [pair.oldAddress, pair.newAddress])
  return `pids=; for to in ${addresses.join(' ')}; do ssh root@$to ${what} & pids="$pids $!"; done; for pid in $pids; do wait $pid || exit 1; done`
}

function table(size: number, cold: Times, again: Times): BenchTable {
  const row = (what: string, times: Times) => {
    const ratio = (a: number[], b: number[]) =>
      range(
        a.map((value, round) => value / b[round]!),
        1,
      )
    return {
      what,
      'fleetmove up, s': range(times.fleetmove, 1),
      'Ansible, s': range(times.ansible, 1),
      'bare, s': range(times.bare, 1),
      'Ansible / fleetmove': ratio(times.ansible, times.fleetmove),
      'fleetmove / bare': ratio(times.fleetmove, times.bare),
    }
  }
  return {
    title: `${size} hosts`,
    rows: [row('cold', cold), row('nothing left to do', again)],
    notes: [
      'Ansible: the same runtime and agent, keys, WireGuard, routes, sysctls, rules, and one ping; pipelining, a fork a host, no facts; fleetmove proves the path of every listener besides',
      `bare: OpenSSH to all hosts at once, with the upload (cold) or \`true\`; fleetmove cold takes ${median(cold.fleetmove.map((s, round) => s - cold.bare[round]!)).toFixed(1)} s more`,
    ],
  }
}
