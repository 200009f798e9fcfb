/** Hosts that reboot, and networks that restart, while fleetmove works. */
import { complaints } from '../../test/load/client-load.js'
import { none, same, type World } from '../world.js'
import type { Scenario } from './scenario.js'
import { finalize, isWebRunning, startWeb, verifyAll, writeWebFleet } from './web-move.js'

/** Nothing has to be mended, and status knows where the service is. */
async function status(world: World): Promise<{ stage: string; active: string; drift: unknown[] }> {
  const { events } = await world.fleetmove('status')
  const { services, drift } = events[0] as unknown as {
    services: { stage: string; active: string }[]
    drift: unknown[]
  }
  return { stage: services[0]?.stage ?? '', active: services[0]?.active ?? '', drift }
}

/** New connections by both hosts' addresses for two seconds, none of which fails. */
async function clientsAreServed(world: World): Promise<void> {
  const load = await world.load('client1', {
    targets: [...world.addresses('old1'), ...world.addresses('new1')],
    perSecond: 20,
  })
  await new Promise((resolve) => setTimeout(resolve, 2000))
  none('clients', complaints(await load.stop()))
}

/** The first event of that sort, and fleetmove's end after it was killed. */
async function killAt(world: World, words: string, sign: RegExp): Promise<void> {
  let reached = false
  const run = world.start(words, (event) => {
    if (reached || event.type !== 'begin' || !sign.test(String(event.what))) return
    reached = true
    run.kill()
  })
  const { events } = await run.ended
  if (!reached) throw new Error(`fleetmove ${words} never came to ${sign}: ${JSON.stringify(events.slice(-5))}`)
}

const whileForwarding = (host: string): Scenario => ({
  name: `reboot-${host.slice(0, 3)}`,
  title: `${host} reboots while new forwards to old: the unit comes back and puts everything back`,
  needs: ['systemd', 'reboot'],
  async run(world) {
    await writeWebFleet(world)
    await startWeb(world)
    await world.shell('old1', 'systemctl -q enable nginx')
    await world.remember()
    await world.fleetmove('up')
    const before = await world.shell(host, 'cat /proc/sys/kernel/random/boot_id; nft list table inet fleetmove | wc -l')
    const begun = performance.now()
    await world.substrate.reboot(host)
    world.say(`the reboot took ${((performance.now() - begun) / 1000).toFixed(1)} s`)
    await world.shell(host, 'systemctl is-enabled fleetmove-agent && systemctl is-active fleetmove-agent')
    await world.until(
      'the tunnel',
      async () => (await world.shell(host, 'ip -o link show | grep -c " fm1" || true')).trim() === '1',
    )
    await world.until(
      'the rules',
      async () => (await world.shell(host, 'nft list tables | grep -c fleetmove || true')).trim() === '1',
    )
    if (before === '') throw new Error('the host told nothing of itself')
    await clientsAreServed(world)
    await verifyAll(world)
    same('status', await status(world), { stage: 'forwarding', active: 'old1', drift: [] })
    await world.fleetmove('down')
    none('left behind', await world.leftovers())
  },
})

const inTheMiddle = (host: string): Scenario => ({
  name: `reboot-${host.slice(0, 3)}-mid-move`,
  title: `${host} reboots in the middle of a move whose controller dies, too; advance is run again`,
  needs: ['systemd', 'reboot'],
  async run(world) {
    await writeWebFleet(world)
    await startWeb(world)
    // Which of them starts with its host is the operator's affair (docs/recipes.md).
    for (const each of ['old1', 'new1']) await world.shell(each, 'systemctl -q enable nginx')
    await world.fleetmove('up')
    await killAt(world, 'advance web', /^drain on old1/)
    await world.substrate.reboot(host)
    await world.until('the agent', async () => {
      const { code } = await world.substrate.exec(host, ['systemctl', 'is-active', 'fleetmove-agent'])
      return code === 0
    })
    // The operator's lock of the dead run has to run out first.
    await world.until('advance', async () => (await world.start('advance web').ended).code === 0, 120_000)
    same('status', await status(world), { stage: 'moved', active: 'new1', drift: [] })
    same('nginx on old1', await isWebRunning(world, 'old1'), false)
    await clientsAreServed(world)
    await finalize(world)
  },
})

const inTheGap: Scenario = {
  name: 'reboot-old-in-gap',
  title: 'old1 loses its power while a service that never runs twice starts on new1: it does not start on old1, too',
  needs: ['systemd', 'reboot'],
  async run(world) {
    await writeWebFleet(world, { more: ['strategy: recreate', 'hold: 30s', 'drain: 1s'] })
    await startWeb(world)
    await world.shell('old1', 'systemctl -q enable nginx')
    await world.fleetmove('up')
    let rebooting: Promise<void> | undefined
    const run = world.start('advance web', ({ type, what }) => {
      if (type === 'begin' && what === 'start on new1') rebooting ??= world.substrate.reboot('old1')
    })
    await run.ended
    if (!rebooting) throw new Error('advance never came to its start on new1')
    await rebooting
    const runs = (): Promise<boolean[]> => Promise.all(['old1', 'new1'].map((host) => isWebRunning(world, host)))
    same('nginx on old1 and new1', await runs(), [false, true])
    await world.until('advance', async () => (await world.start('advance web').ended).code === 0, 120_000)
    same('nginx on old1 and new1', await runs(), [false, true])
    const starts = (host: string): Promise<string> => world.shell(host, 'systemctl is-enabled nginx || true')
    same('nginx starts with', await Promise.all(['old1', 'new1'].map(starts)), ['disabled\n', 'enabled\n'])
    await clientsAreServed(world)
    await world.fleetmove('down')
    same('nginx starts with', await Promise.all(['old1', 'new1'].map(starts)), ['enabled\n', 'disabled\n'])
  },
}

const networkdRestart: Scenario = {
  name: 'networkd-restart',
  title: 'systemd-networkd restarts on both hosts, which removes foreign rules: they are put back under load',
  needs: ['systemd'],
  async run(world) {
    await writeWebFleet(world)
    await startWeb(world)
    await world.remember()
    await world.fleetmove('up')
    const load = await world.load('client1', { targets: world.addresses('new1'), perSecond: 20, keepAlive: 2 })
    for (const host of ['old1', 'new1']) {
      await world.shell(host, 'systemctl restart systemd-networkd; networkctl reload')
      for (const family of ['-4', '-6'])
        await world.until(
          `our rule (${family}) on ${host}`,
          async () => (await world.shell(host, `ip ${family} rule | grep -c ^5180: || true`)).trim() !== '0',
        )
    }
    load.endLong()
    none('clients', complaints(await load.stop()))
    await verifyAll(world)
    same('status', await status(world), { stage: 'forwarding', active: 'old1', drift: [] })
    await world.fleetmove('down')
    none('left behind', await world.leftovers())
  },
}

export const reboots: readonly Scenario[] = [
  whileForwarding('old1'),
  whileForwarding('new1'),
  inTheMiddle('old1'),
  inTheMiddle('new1'),
  inTheGap,
  networkdRestart,
]
