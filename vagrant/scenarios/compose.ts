/**
 * A service of a Compose project that must never run twice, made by Compose on the new host; its own connections
 * keep the old host's address until the end.
 */
import { none, same, type World } from '../world.js'
import { daemonSettings, leftOfOurs, perlInImage, practiceImage } from './docker.js'
import { answerOnClient, askEcho, echoPort, practice, putProgram, seenAs } from './echo.js'
import type { Scenario } from './scenario.js'
import { finalize, fleetText, serviceText, verifyAll } from './web-move.js'

const file = '/srv/practice/docker-compose.yml'

const project = (host: string): string => `version: "2.4"
services:
  echo:
    image: practice
    container_name: echo
    network_mode: bridge
    stop_signal: SIGKILL
    command: '${perlInImage} ${practice}/echo.pl ${host} tcp :: ${echoPort} udp :: ${echoPort}'
    ports: ["${echoPort}:${echoPort}/tcp", "${echoPort}:${echoPort}/udp"]
`

async function move(world: World): Promise<void> {
  for (const host of ['old1', 'new1']) {
    await world.substrate.copy(host, '/etc/docker/daemon.json', daemonSettings(true))
    for (const name of ['echo.pl', 'ask.pl'] as const) await putProgram(world, host, name)
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
    await seenAs(world, 'the container', 'old1', `docker exec echo ${perlInImage}`, 'old1')
    // Its engine would start it with old1, where it isn't wanted any more.
    await world.shell('old1', 'docker update --restart always echo')
    await world.fleetmove('advance --all', 3)
    same('the container on old1', await running(world, 'old1'), 'echo')
    await world.shell('old1', 'docker update --restart unless-stopped echo')
    await world.fleetmove('advance --all')
    same('the container on old1', await running(world, 'old1'), '')
    same('the container on new1', await running(world, 'new1'), 'echo')
    for (const called of ['old1', 'new1']) await askEcho(world, called, 'new1')
    await seenAs(world, 'the container', 'new1', `docker exec echo ${perlInImage}`, 'old1')
    await seenAs(world, 'root', 'new1', perlInImage, 'new1')
    await world.fleetmove('rollback echo')
    same('the container on old1', await running(world, 'old1'), 'echo')
    await askEcho(world, 'new1', 'old1')
    await world.fleetmove('advance --all')
    // Another one, with other addresses.
    await world.shell('new1', `docker-compose -f ${file} up -d --force-recreate`)
    await seenAs(world, 'the container made anew', 'new1', `docker exec echo ${perlInImage}`, 'old1')
    await finalize(world)
    await seenAs(world, 'the container', 'new1', `docker exec echo ${perlInImage}`, 'new1')
  } finally {
    await end()
  }
  await askEcho(world, 'new1', 'new1')
  none('left behind', await leftOfOurs(world))
}

const running = async (world: World, host: string): Promise<string> =>
  (await world.shell(host, "docker ps --format '{{.Names}}'")).trim()

export const compose: readonly Scenario[] = [
  {
    name: 'compose',
    title: 'a Compose project, recreated on the new host, whose own connections keep the old address',
    needs: ['systemd', 'docker'],
    run: move,
  },
  {
    name: 'compose-2',
    title: 'the same by Compose 2, between hosts with Debian 13',
    needs: ['systemd', 'docker', 'releases'],
    releases: { old1: 'trixie', new1: 'trixie' },
    run: move,
  },
]
