/**
 * A service of a Compose project that must never run twice, made by Compose on the new host; its own connections
 * keep the old host's address until the end.
 */
import { none, same, type World } from '../world.js'
import { daemonSettings, leftOfOurs, practiceImage } from './docker.js'
import { askEcho, askFrom, echoPort, putAsk, putEcho } from './echo.js'
import type { Scenario } from './scenario.js'
import { finalize, fleetText, serviceText, verifyAll } from './web-move.js'

const file = '/srv/practice/docker-compose.yml'
const perl = '/usr/bin/perl -I/usr/lib/x86_64-linux-gnu/perl-base'
const tools = '/usr/local/lib/practice'

const project = (host: string): string => `version: "2.4"
services:
  echo:
    image: practice
    container_name: echo
    network_mode: bridge
    stop_signal: SIGKILL
    command: '${perl} ${tools}/echo.pl ${host} tcp :: ${echoPort} udp :: ${echoPort}'
    ports: ["${echoPort}:${echoPort}/tcp", "${echoPort}:${echoPort}/udp"]
`

async function move(world: World): Promise<void> {
  for (const host of ['old1', 'new1']) {
    await world.substrate.copy(host, '/etc/docker/daemon.json', daemonSettings(true))
    await putEcho(world, host)
    await putAsk(world, host)
    await world.shell(host, practiceImage)
    await world.substrate.copy(host, file, project(host))
  }
  await world.shell('old1', `docker-compose -f ${file} up -d`)
  const more = ['strategy: recreate', 'hold: 60s', 'egress: old1', 'egress_from: { container: echo }']
  const lifecycle = `compose: { file: ${file}, service: echo }`
  const service = { listen: `[tcp/${echoPort}, udp/${echoPort}]`, lifecycle, health: 'tcp', more }
  await world.writeFleet(fleetText(world, serviceText(world, 'echo', service), ['old1', 'new1']))
  const end = await answerOnClient(world)
  try {
    await askEcho(world, 'old1', 'old1')
    await world.fleetmove('up')
    await askEcho(world, 'new1', 'old1')
    await verifyAll(world)
    await seenAs(world, 'the container', 'old1', `docker exec echo ${perl}`, 'old1')
    await world.fleetmove('advance --all')
    same('the container on old1', await running(world, 'old1'), '')
    same('the container on new1', await running(world, 'new1'), 'echo')
    for (const called of ['old1', 'new1']) await askEcho(world, called, 'new1')
    await seenAs(world, 'the container', 'new1', `docker exec echo ${perl}`, 'old1')
    await seenAs(world, 'root', 'new1', perl, 'new1')
    await world.fleetmove('rollback echo')
    same('the container on old1', await running(world, 'old1'), 'echo')
    await askEcho(world, 'new1', 'old1')
    await world.fleetmove('advance --all')
    // Another one, with other addresses.
    await world.shell('new1', `docker-compose -f ${file} up -d --force-recreate`)
    await seenAs(world, 'the container made anew', 'new1', `docker exec echo ${perl}`, 'old1')
    await finalize(world)
    await seenAs(world, 'the container', 'new1', `docker exec echo ${perl}`, 'new1')
  } finally {
    await end()
  }
  await askEcho(world, 'new1', 'new1')
  none('left behind', await leftOfOurs(world))
}

const running = async (world: World, host: string): Promise<string> =>
  (await world.shell(host, "docker ps --format '{{.Names}}'")).trim()

/** The other end of what the service opens itself. */
async function answerOnClient(world: World): Promise<() => Promise<void>> {
  await putEcho(world, 'client1')
  const script = `setsid perl ${tools}/echo.pl client1 tcp :: ${echoPort} </dev/null >/dev/null 2>&1 & echo $!`
  const pid = (await world.shell('client1', script)).trim()
  return async () => void (await world.shell('client1', `kill ${pid}`))
}

/** Whom client1 sees when `runs` on a host connects to it, by both families. */
async function seenAs(world: World, who: string, host: string, runs: string, wanted: string): Promise<void> {
  for (const [index, address] of world.addresses('client1').entries()) {
    const own = world.addresses(wanted)[index]!
    let said = ''
    const isRight = async (): Promise<boolean> => {
      said = await askFrom(world, host, runs, address)
      return said === `client1 ${own}`
    }
    // The addresses of a container that has just been started are found by what the kernel tells of it.
    await world
      .until('the address', isRight, 5000)
      .catch(() => same(`${who} on ${host} by ${address}`, said, `client1 ${own}`))
  }
}

export const compose: Scenario = {
  name: 'compose',
  title: 'a Compose project, recreated on the new host, whose own connections keep the old address',
  needs: ['systemd', 'docker'],
  run: move,
}
