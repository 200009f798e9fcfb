/** How the controller itself grows with the hosts: a thousand that are simulated, in this process. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { advance } from '../../controller/advance.js'
import { parseFacts } from '../../controller/bootstrap/parse-facts.js'
import type { Progress } from '../../controller/progress.js'
import { status } from '../../controller/status.js'
import { up } from '../../controller/up.js'
import { verify } from '../../controller/verify.js'
import type { Context } from '../../controller/world.js'
import type { Bench, BenchOptions, BenchTable } from './bench.js'
import { callMs, connectMs, simulate } from './simulated-hosts.js'

const counts = [10, 100, 1000]
const sideBySide = 50

const silent: Progress = {
  begin: () => Object.assign(() => {}, { update: () => {} }),
  note: () => {},
  detail: () => {},
  call: () => () => {},
}

export const simulatedBench: Bench = {
  name: 'simulated',
  description: '10 to 1,000 simulated hosts: what the controller itself costs for up, status, verify and a wave',
  run: async (options) => [await manySimulated(options)],
}

async function manySimulated({ say }: BenchOptions): Promise<BenchTable> {
  const facts = parseFacts(
    readFileSync(join(process.cwd(), 'test/unit/controller/bootstrap/facts/debian-12-root.txt'), 'utf8'),
  )!
  const state = mkdtempSync(join(tmpdir(), 'fleetmove-bench-'))
  const before = process.env.XDG_STATE_HOME
  process.env.XDG_STATE_HOME = state
  const rows: BenchTable['rows'] = []
  try {
    for (const count of counts) {
      const { fleet, end } = await simulate(count / 2, facts)
      const context: Context = {
        ...{ fleet, progress: silent, confirmWithinMs: 60_000 },
        site: { askSecret: undefined, log: () => {}, call: () => () => {} },
      }
      const move = {
        ...{ services: [], wave: undefined, parallel: sideBySide, maxFailures: 0, gate: false },
        ...{ canary: undefined, overwriteData: false },
      }
      const commands: Record<string, () => Promise<unknown>> = {
        up: () => up(context),
        'up, nothing to do': () => up(context),
        status: () => status(context, []),
        verify: () => verify(context, []),
        'one wave': () => advance(context, move),
      }
      for (const [command, run] of Object.entries(commands)) {
        const [begun, used] = [performance.now(), process.cpuUsage()]
        await run()
        const seconds = (performance.now() - begun) / 1000
        const { user, system } = process.cpuUsage(used)
        const cpuSeconds = (user + system) / 1e6
        rows.push({
          ...{ hosts: count, command, s: seconds.toFixed(1), 'CPU, s': cpuSeconds.toFixed(1) },
          'CPU a host, ms': ((cpuSeconds / count) * 1000).toFixed(1),
          'memory, MiB': (process.memoryUsage.rss() / 2 ** 20).toFixed(0),
        })
        say(`${count} simulated hosts, ${command}: ${seconds.toFixed(1)} s`)
      }
      end()
    }
  } finally {
    rmSync(state, { recursive: true, force: true })
    if (before === undefined) delete process.env.XDG_STATE_HOME
    else process.env.XDG_STATE_HOME = before
  }
  return {
    title: 'Simulated hosts, each pair with a service',
    rows,
    notes: [
      `a call takes ${callMs} ms and a connection ${connectMs}; agents and hosts are simulated in the controller's process, and counted with it; probes are real connections on the loopback`,
      `${sideBySide} services of the wave side by side`,
    ],
  }
}
