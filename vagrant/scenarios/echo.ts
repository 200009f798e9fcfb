/** A service that tells whom it sees, over TCP and UDP: test/e2e/fixtures/echo.pl, as a unit, by hand or in a container. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { same, type World } from '../world.js'
import { hasSystemd } from './web-move.js'

export const echoPort = 7000
/** Where the programs are on a host, and in the image of a container. */
export const practice = '/usr/local/lib/practice'
const program = `${practice}/echo.pl`

/** @param name also ask.pl, for who has not the file system of the hosts: a container */
export const putProgram = (world: World, host: string, name: 'echo.pl' | 'ask.pl'): Promise<void> =>
  world.substrate.copy(
    host,
    `${practice}/${name}`,
    readFileSync(join(world.repository, 'test', 'e2e', 'fixtures', name), 'utf8'),
    0o755,
  )

const command = (host: string): string => `/usr/bin/perl ${program} ${host} tcp :: ${echoPort} udp :: ${echoPort}`

/**
 * Installs it on both hosts and starts it on `from`.
 * @returns the lines of fleet.yaml that start and stop it
 */
export async function startEcho(world: World, from: string, to: string): Promise<string> {
  for (const host of [from, to]) {
    await putProgram(world, host, 'echo.pl')
    const unit = `[Service]\nExecStart=${command(host)}\nDynamicUser=yes\n`
    if (hasSystemd(world)) await world.substrate.copy(host, '/etc/systemd/system/web-echo.service', unit)
  }
  if (hasSystemd(world)) {
    for (const host of [from, to]) await world.shell(host, 'systemctl daemon-reload')
    await world.shell(from, 'systemctl start web-echo')
    return 'unit: web-echo.service'
  }
  const start = (host: string): string => `setsid ${command(host)} </dev/null >/dev/null 2>&1 &`
  await world.shell(from, start(from))
  return `run: { start: "${start('$(hostname)')}", stop: "pkill -f ${program}" }`
}

/** Asks from client1 by every address of `called`: `answers` answers, and knows the client's address. */
export async function askEcho(
  world: World,
  called: string,
  answers: string,
  hosts?: (said: string) => string,
): Promise<void> {
  const addresses = world.addresses(called)
  const own = world.addresses('client1')
  const ask = `perl ${world.substrate.tree}/test/e2e/fixtures/ask.pl`
  for (const protocol of ['tcp', 'udp'])
    for (const [index, address] of addresses.entries())
      await hears(world, 'client1', `${ask} ${protocol} ${address}`, `${answers} ${own[index]}`, { hosts })
}

/**
 * Asks until it hears who answers, and whom that one sees: it may have been started in this moment.
 * @param ask ask.pl with all its words but the port, as `host` runs it
 * @param options `hosts`: the name that is meant by what is said; `who` asks, for who reads of a failure
 */
export async function hears(
  world: World,
  host: string,
  ask: string,
  wanted: string,
  options: { hosts?: ((said: string) => string) | undefined; withinMs?: number; who?: string } = {},
): Promise<void> {
  const { hosts = (said) => said, withinMs = 3000, who = host } = options
  let said = ''
  const isRight = async (): Promise<boolean> => {
    const line = (await world.shell(host, `${ask} ${echoPort}`)).trim()
    const [name = '', seen = ''] = line.split(' ')
    said = line.startsWith('error') ? line : `${hosts(name)} ${seen}`
    return said === wanted
  }
  await world.until('an answer', isRight, withinMs).catch(() => same(`${who}: ${ask}`, said, wanted))
}

/** The other end of what the service opens itself. */
export async function answerOnClient(world: World): Promise<() => Promise<void>> {
  await putProgram(world, 'client1', 'echo.pl')
  const script = `setsid perl ${practice}/echo.pl client1 tcp :: ${echoPort} </dev/null >/dev/null 2>&1 & echo $!`
  const pid = (await world.shell('client1', script)).trim()
  return async () => void (await world.shell('client1', `kill ${pid}`))
}

/** Whom client1 sees when `runs` on a host connects to it, by both families. */
export async function seenAs(world: World, who: string, host: string, runs: string, wanted: string): Promise<void> {
  // What has just been started is found by what the kernel tells of it.
  const options = { withinMs: 5000, who: `${who} on ${host}` }
  for (const [index, address] of world.addresses('client1').entries())
    await hears(
      world,
      host,
      `${runs} ${practice}/ask.pl tcp ${address}`,
      `client1 ${world.addresses(wanted)[index]}`,
      options,
    )
}
