/** Containers with published ports, moved by the engine itself; the container sees the client's true address. */
import { none, same, type World } from '../world.js'
import { askEcho, echoPort, practice, putProgram } from './echo.js'
import type { Scenario } from './scenario.js'
import { finalize, fleetText, serviceText, verifyAll } from './web-move.js'

/** Docker 20.10 has IPv6 behind `experimental`; later versions ignore that word. */
export const daemonSettings = (userlandProxy: boolean): string =>
  JSON.stringify({
    'userland-proxy': userlandProxy,
    ipv6: true,
    'fixed-cidr-v6': 'fd00:77::/64',
    ip6tables: true,
    experimental: true,
  })

/** Where the image has its library. */
export const perlInImage = '/usr/bin/perl -I/usr/lib/x86_64-linux-gnu/perl-base'

/** There is no registry: an image of perl and what it is linked with, out of the host's own files. */
export const practiceImage = `set -eu
systemctl start docker
cd /
tar -ch usr/bin/perl usr/lib/x86_64-linux-gnu/perl-base lib64/ld-linux-x86-64.so.2 \\
  $(ldd /usr/bin/perl | sed -n 's/.* => .\\([^ ]*\\) .*/\\1/p') ${practice.slice(1)} 2>/dev/null |
  docker import - practice >/dev/null
`

const makeContainer = (host: string, isRunning: boolean): string => `${practiceImage}
# An engine without tini: perl as process 1 ignores TERM unless told.
docker create --name echo --stop-signal KILL -p ${echoPort}:${echoPort}/tcp -p ${echoPort}:${echoPort}/udp practice \\
  ${perlInImage} ${practice}/echo.pl ${host} \\
  tcp :: ${echoPort} udp :: ${echoPort} >/dev/null
${isRunning ? 'docker start echo >/dev/null' : ''}
`

async function move(world: World, userlandProxy: boolean): Promise<void> {
  for (const host of ['old1', 'new1']) {
    await world.substrate.copy(host, '/etc/docker/daemon.json', daemonSettings(userlandProxy))
    await putProgram(world, host, 'echo.pl')
    await world.shell(host, makeContainer(host, host === 'old1'))
  }
  const service = { listen: `[tcp/${echoPort}, udp/${echoPort}]`, lifecycle: 'container: echo', health: 'tcp' }
  await world.writeFleet(fleetText(world, serviceText(world, 'echo', service), ['old1', 'new1']))
  await askEcho(world, 'old1', 'old1')
  await world.fleetmove('up')
  await askEcho(world, 'new1', 'old1')
  await verifyAll(world)
  await world.fleetmove('advance --all')
  same('the container on old1', await isRunning(world, 'old1'), 'false')
  same('the container on new1', await isRunning(world, 'new1'), 'true')
  await askEcho(world, 'old1', 'new1')
  await askEcho(world, 'new1', 'new1')
  await verifyAll(world)
  // Docker makes its chains anew, and its own forwarding policy.
  await world.shell('old1', 'systemctl restart docker')
  await askEcho(world, 'old1', 'new1')
  await world.fleetmove('rollback echo')
  same('the container on old1', await isRunning(world, 'old1'), 'true')
  await askEcho(world, 'new1', 'old1')
  await world.fleetmove('advance --all')
  await finalize(world)
  await askEcho(world, 'new1', 'new1')
  none('left behind', await leftOfOurs(world))
}

const isRunning = async (world: World, host: string): Promise<string> =>
  (await world.shell(host, "docker inspect -f '{{.State.Running}}' echo")).trim()

/** Docker's own rules change with its containers, so what is looked for is what bears our name. */
export async function leftOfOurs(world: World): Promise<string[]> {
  const look =
    'nft list ruleset | grep -i fleetmove; iptables-save | grep -i fleetmove; ip -o link | grep ": fm"; ls -d /run/fleetmove /var/lib/fleetmove 2>/dev/null; true'
  const said = await Promise.all(['old1', 'new1'].map((host) => world.shell(host, look)))
  return said.flatMap((text) => text.split('\n')).filter((line) => line !== '')
}

const scenario = (name: string, userlandProxy: boolean): Scenario => ({
  name,
  title: `a container with published ports, userland proxy ${userlandProxy ? 'on' : 'off'}: TCP and UDP, IPv4 and IPv6`,
  needs: ['systemd', 'docker'],
  run: (world) => move(world, userlandProxy),
})

export const docker: readonly Scenario[] = [scenario('docker', true), scenario('docker-no-proxy', false)]
