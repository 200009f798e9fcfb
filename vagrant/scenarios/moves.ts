/** Moves of other kinds: with data, by and by, back again, and between more than two hosts. */
import { answeredBy, complaints } from '../../test/load/client-load.js'
import { none, same, type World } from '../world.js'
import { askEcho, startEcho } from './echo.js'
import type { Scenario } from './scenario.js'
import { finalize, fleetText, isWebRunning, serviceText, startWeb, verifyAll, writeWebFleet } from './web-move.js'

const data = '/var/lib/practice'
const sumOf = (world: World, host: string): Promise<string> =>
  world.shell(host, `cd ${data} && find . -type f | sort | xargs sha256sum | sha256sum; stat -c '%a %U' .`)

const recreate: Scenario = {
  name: 'recreate-data',
  title: 'a service that never runs twice, with its data, while it is being written',
  async run(world) {
    await writeWebFleet(world, { more: ['strategy: recreate', 'hold: 20s', `data: [${data}]`] })
    await startWeb(world)
    await world.shell(
      'old1',
      `mkdir -m 750 ${data}; chown www-data ${data}
       i=0; while [ $i -lt 200 ]; do i=$((i+1)); head -c 20000 /dev/urandom >${data}/file$i; done`,
    )
    await world.fleetmove('up')
    const load = await world.load('client1', {
      targets: [...world.addresses('old1'), ...world.addresses('new1')],
      perSecond: 20,
    })
    // Until nginx ends: what it would write itself.
    const writer = world.substrate.spawn('old1', [
      ...['sh', '-c', `while pgrep -x nginx >/dev/null; do date +%s.%N >>${data}/log; sleep 0.05; done`],
    ])
    await world.fleetmove('advance web')
    writer.kill('SIGKILL')
    same('the data on new1', await sumOf(world, 'new1'), await sumOf(world, 'old1'))
    same('nginx on old1', await isWebRunning(world, 'old1'), false)
    const reports = await load.stop()
    none('clients', complaints(reports))
    same('who answered', Object.keys(answeredBy(reports)).sort(), ['new1', 'old1'])
    await finalize(world)
  },
}

/** A wrapper and what is part of it, as Debian's postfix.service and postfix@-.service: only the part takes its time. */
const parts = `cat >/etc/systemd/system/whole.service <<'END'
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
END
cat >/etc/systemd/system/whole@.service <<'END'
[Unit]
PartOf=whole.service
Before=whole.service
[Service]
ExecStart=/usr/sbin/nginx -g 'daemon off;'
ExecStop=/bin/sh -c 'sleep 2; date +%%s%%N >/srv/stopped'
END
mkdir -p /etc/systemd/system/whole.service.wants
ln -s /etc/systemd/system/whole@.service /etc/systemd/system/whole.service.wants/whole@-.service
systemctl daemon-reload`

const unitOfParts: Scenario = {
  name: 'unit-of-parts',
  title: 'the stop of a unit is over when that of its parts is: the new side starts after the old one',
  needs: ['systemd'],
  async run(world) {
    for (const host of ['old1', 'new1']) await world.shell(host, parts)
    await world.shell('old1', 'systemctl start whole && systemctl is-active whole@-')
    await writeWebFleet(world, {
      lifecycle: 'unit: whole.service',
      more: ['strategy: recreate', 'hold: 30s', 'drain: 1s'],
    })
    await world.fleetmove('up')
    await world.fleetmove('advance web')
    const at = async (host: string, what: string): Promise<number> => Number(await world.shell(host, what))
    const stopped = await at('old1', 'cat /srv/stopped')
    const started = await at('new1', 'date -d "$(systemctl show -p ExecMainStartTimestamp --value whole@-)" +%s%N')
    world.say(`started ${Math.round((started - stopped) / 1e6)} ms after the stop`)
    if (started + 1e9 < stopped)
      throw new Error(`started ${(stopped - started) / 1e6} ms before the old one had stopped`)
    same('nginx on old1', await isWebRunning(world, 'old1'), false)
    await world.fleetmove('down')
  },
}

const canary: Scenario = {
  name: 'canary-rollback',
  title: 'a growing share of clients, then all, then back again, then abandoned: nobody notices',
  async run(world) {
    await writeWebFleet(world)
    await startWeb(world)
    await world.remember()
    await world.fleetmove('up')
    const targets = [...world.addresses('old1'), ...world.addresses('new1')]
    const load = await world.load('client1', { targets, perSecond: 20 })
    const own = world.addresses('client1')
    const { events } = await world.fleetmove(`advance web --canary 30,100 --bake 2s --only ${own[0]},${own[1]}`)
    const steps = events.filter(({ type, what }) => type === 'begin' && String(what).startsWith('canary'))
    if (steps.length < 2) throw new Error(`no canary was seen: ${JSON.stringify(steps)}`)
    await verifyAll(world)
    await world.fleetmove('rollback web')
    await world.fleetmove('down')
    const reports = await load.stop()
    none('clients', complaints(reports.filter(({ address }) => world.addresses('old1').includes(address))))
    same('who answered', Object.keys(answeredBy(reports)).sort(), ['new1', 'old1'])
    none('left behind', await world.leftovers())
  },
}

const twoToOne: Scenario = {
  name: 'two-to-one',
  title: 'a service of each of two old hosts moves to one new host',
  hosts: ['controller', 'client1', 'old1', 'old2', 'new1'],
  async run(world) {
    const services =
      serviceText(world, 'web') +
      serviceText(world, 'echo', {
        from: 'old2',
        listen: '[tcp/7000, udp/7000]',
        lifecycle: await startEcho(world, 'old2', 'new1'),
        health: 'tcp',
      })
    await world.writeFleet(fleetText(world, services, ['old1', 'old2', 'new1']))
    await startWeb(world)
    await world.remember()
    await world.fleetmove('up')
    await askEcho(world, 'new1', 'old2')
    await verifyAll(world)
    await world.fleetmove('advance --all')
    await askEcho(world, 'old2', 'new1')
    await askEcho(world, 'new1', 'new1')
    const load = await world.load('client1', { targets: world.addresses('old1'), perSecond: 20 })
    const reports = await load.stop()
    none('clients of old1', complaints(reports))
    same('who answered', Object.keys(answeredBy(reports)), ['new1'])
    await finalize(world)
    none('left behind', await world.leftovers())
  },
}

const oneToTwo: Scenario = {
  name: 'one-to-two',
  title: 'two services of one old host move to two new hosts, one of them behind address translation',
  hosts: ['controller', 'client1', 'old1', 'new1', 'new2'],
  async run(world) {
    const services =
      serviceText(world, 'web') +
      serviceText(world, 'echo', {
        to: 'new2',
        listen: '[tcp/7000, udp/7000]',
        lifecycle: await startEcho(world, 'old1', 'new2'),
        health: 'tcp',
      })
    await world.writeFleet(fleetText(world, services, ['old1', 'new1', 'new2']))
    await startWeb(world)
    await world.remember()
    await world.fleetmove('up')
    await askEcho(world, 'new2', 'old1')
    await verifyAll(world)
    await world.fleetmove('advance --all')
    await askEcho(world, 'old1', 'new2')
    await askEcho(world, 'new2', 'new2')
    await finalize(world)
    none('left behind', await world.leftovers())
  },
}

export const moves: readonly Scenario[] = [recreate, unitOfParts, canary, twoToOne, oneToTwo]
