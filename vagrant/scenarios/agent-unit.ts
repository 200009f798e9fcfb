/** The agent as a systemd service: restarts, watchdog, journal, and how much its unit may do. */
import { none, same, type World } from '../world.js'
import type { Scenario } from './scenario.js'
import { startWeb, writeWebFleet } from './web-move.js'

const unit = 'fleetmove-agent.service'
/** systemd.exec(5) sandboxing, as systemd-analyze rates it: 0 is locked away, 10 is free. */
const highestExposure = 4

const mainPid = async (world: World, host: string): Promise<string> =>
  (await world.shell(host, `systemctl show -p MainPID --value ${unit}`)).trim()

/** Does it to the main process, and waits until another one answers. */
async function replaced(world: World, host: string, what: string, act: string): Promise<void> {
  const before = await mainPid(world, host)
  await world.shell(host, `${act} ${before}`)
  await world.until(
    `${host}: another agent after ${what}`,
    async () => {
      const now = await mainPid(world, host)
      const isBack = await world
        .shell(host, `systemctl is-active ${unit} && ls /run/fleetmove/agent.sock`)
        .catch(() => '')
      return now !== '0' && now !== before && isBack !== ''
    },
    100_000,
  )
  // Its socket is there once it has put everything back.
  await world.until('the agent', async () => (await world.start('status').ended).code === 0)
}

export const agentUnit: Scenario = {
  name: 'agent-unit',
  title: 'the unit restarts a killed agent and one that hangs, logs to the journal, and is a sandbox',
  needs: ['systemd'],
  async run(world) {
    await writeWebFleet(world)
    await startWeb(world)
    await world.remember()
    await world.fleetmove('up')
    const load = await world.load('client1', { targets: world.addresses('new1'), perSecond: 10, keepAlive: 2 })

    await replaced(world, 'new1', 'SIGKILL', 'kill -KILL')
    // Not by `kill -STOP` alone would systemd notice: its watchdog does.
    await replaced(world, 'new1', 'SIGSTOP', 'kill -STOP')
    same(
      'why it was killed',
      await world.shell('new1', `journalctl -q -o cat -u ${unit} | grep -c 'Watchdog timeout'`),
      '1\n',
    )

    const lines = (await world.shell('new1', `journalctl -q -o json -t fleetmove-agent`)).trim().split('\n')
    const entries = lines.map((line) => JSON.parse(line) as { PRIORITY: string; MESSAGE: string })
    const serves = entries.filter(({ MESSAGE }) => MESSAGE.includes('"message":"serves"'))
    same(
      'entries of starts',
      serves.map(({ PRIORITY }) => PRIORITY),
      ['6', '6', '6'],
    )
    for (const { MESSAGE } of serves) JSON.parse(MESSAGE)
    none(
      'failures in the journal',
      entries.filter(({ PRIORITY }) => Number(PRIORITY) < 4).map(({ MESSAGE }) => MESSAGE),
    )

    const rated = await world.shell('new1', `systemd-analyze security --no-pager ${unit} | tail -n 1`)
    const exposure = Number(/([\d.]+) [A-Z]+/.exec(rated)?.[1] ?? Number.NaN)
    world.say(`systemd-analyze security ${unit}: ${exposure}`)
    if (!(exposure <= highestExposure)) throw new Error(`exposure ${exposure} is above ${highestExposure}: ${rated}`)

    load.endLong()
    const reports = await load.stop()
    none(
      'connections that failed',
      reports.flatMap(({ failed, long, survived }) =>
        failed + long - survived > 0 ? [`${failed} failed, ${survived} of ${long} survived`] : [],
      ),
    )
    await world.fleetmove('down')
    none('left behind', await world.leftovers())
  },
}

/** Shell that only a free process can run: it writes where the agent may not, and leaves a daemon behind. */
const start = 'place=/srv/started; echo "$FLEETMOVE_SERVICE on $(hostname)" >$place; pgrep -x nginx >/dev/null || nginx'

export const runCommands: Scenario = {
  name: 'run-commands',
  title: "what fleet.yaml's run: starts isn't in the agent's sandbox, and outlives the agent",
  needs: ['systemd'],
  async run(world) {
    const stop = 'rm -f /srv/started; ! pgrep -x nginx >/dev/null || nginx -s quit'
    await writeWebFleet(world, { lifecycle: `run: { start: ${JSON.stringify(start)}, stop: ${JSON.stringify(stop)} }` })
    await startWeb(world)
    await world.remember()
    await world.fleetmove('up')
    await world.fleetmove('advance web')
    same('what start wrote', await world.shell('new1', 'cat /srv/started'), 'web on new1\n')
    const scopes = await world.shell(
      'new1',
      "systemctl list-units --type=scope --plain --no-legend 'fleetmove-web-start-*'",
    )
    same('scopes of what was started', scopes.trim().split('\n').length, 1)
    // The whole host may be in a container's.
    const sandbox = (pid: string): Promise<string> =>
      world.shell('new1', `grep -E '^(NoNewPrivs|Seccomp_filters|CapBnd):' /proc/${pid}/status`)
    same("nginx's sandbox", await sandbox('$(cat /run/nginx.pid)'), await sandbox('1'))
    await world.shell('new1', `systemctl restart ${unit}`)
    await world.until('the agent', async () => (await world.start('status').ended).code === 0)
    await world.shell('new1', 'kill -0 "$(cat /run/nginx.pid)"')
    await world.fleetmove('rollback web')
    same('nginx on new1', (await world.shell('new1', 'pgrep -x nginx || echo none')).trim(), 'none')
    await world.fleetmove('down')
    none('left behind', await world.leftovers())
  },
}
