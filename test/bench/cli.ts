/** How long the command line takes to start, beside Node itself. */
import { join } from 'node:path'
import { type Bench, median, range } from './bench.js'
import { costOf, pairsFleet, startPairs } from './pairs.js'

export const cliBench: Bench = {
  name: 'cli',
  description: 'start time of --version and status, beside Node that does nothing and ssh that asks nothing',
  async run({ rounds = 11, say }) {
    const { network, pairs } = await startPairs('cli', 1)
    try {
      await network.fleet(pairsFleet(pairs))
      await network.fleetmove('up')
      const main = join(process.env.FLEETMOVE_DIST ?? join(process.cwd(), 'dist'), 'cli', 'main.js')
      const host = `root@${pairs[0]!.oldAddress}`
      const kept = '-o ControlMaster=auto -o ControlPath=/root/master -o ControlPersist=600'
      const commands: Record<string, () => Promise<unknown>> = {
        'node -e 0': () => network.shell('controller', `${process.execPath} -e 0`),
        'fleetmove --version': () => network.shell('controller', `${process.execPath} ${main} --version`),
        'fleetmove status --help': () => network.shell('controller', `${process.execPath} ${main} status --help`),
        'ssh HOST true': () => network.shell('controller', `ssh ${host} true`),
        'ssh HOST true, by a connection that is kept': () => network.shell('controller', `ssh ${kept} ${host} true`),
        'fleetmove status (2 hosts)': () => costOf(network, ['status']),
      }
      await network.shell('controller', `ssh ${kept} ${host} true`)
      const took = new Map(Object.keys(commands).map((name) => [name, [] as number[]]))
      for (let round = 1; round <= rounds; round++) {
        for (const [name, run] of Object.entries(commands)) {
          const begun = performance.now()
          await run()
          took.get(name)!.push(performance.now() - begun)
        }
        say(`round ${round} of ${rounds}`)
      }
      const base = took.get('node -e 0')!
      const rows = [...took].map(([command, times]) => ({
        command,
        ms: range(times, 0),
        'beyond node -e 0, ms': median(times.map((ms, round) => ms - base[round]!)).toFixed(0),
      }))
      return [
        { title: 'Start of a command', rows, notes: ['fleetmove keeps no connection: each command opens its own'] },
      ]
    } finally {
      await network.end()
    }
  },
}
