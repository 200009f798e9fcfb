/** A service that tells whom it sees, over TCP and UDP: test/e2e/fixtures/echo.pl, as a unit, by hand or in a container. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { same, type World } from '../world.js'
import { hasSystemd } from './web-move.js'

export const echoPort = 7000
const program = '/usr/local/lib/practice/echo.pl'
const asking = '/usr/local/lib/practice/ask.pl'

const fixture = (world: World): string =>
  readFileSync(join(world.repository, 'test', 'e2e', 'fixtures', 'echo.pl'), 'utf8')

export const putEcho = (world: World, host: string): Promise<void> =>
  world.substrate.copy(host, program, fixture(world), 0o755)

/** Puts the program that asks beside it, for who has not the file system of the hosts: a container. */
export const putAsk = (world: World, host: string): Promise<void> =>
  world.substrate.copy(host, asking, readFileSync(join(world.repository, 'test', 'e2e', 'fixtures', 'ask.pl'), 'utf8'))

/** @param runs the words before the program @returns the name of who answers at `address`, and whom it sees */
export async function askFrom(world: World, host: string, runs: string, address: string): Promise<string> {
  const line = (await world.shell(host, `${runs} ${asking} tcp ${address} ${echoPort}`)).trim()
  return line.startsWith('error') ? line : line.split(' ').slice(0, 2).join(' ')
}

const command = (host: string): string => `/usr/bin/perl ${program} ${host} tcp :: ${echoPort} udp :: ${echoPort}`

/**
 * Installs it on both hosts and starts it on `from`.
 * @returns the lines of fleet.yaml that start and stop it
 */
export async function startEcho(world: World, from: string, to: string): Promise<string> {
  for (const host of [from, to]) {
    await putEcho(world, host)
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
    for (const [index, address] of addresses.entries()) {
      const wanted = `${answers} ${own[index]}`
      let said = ''
      const isRight = async (): Promise<boolean> => {
        const line = (await world.shell('client1', `${ask} ${protocol} ${address} ${echoPort}`)).trim()
        const [host = '', seen = ''] = line.split(' ')
        said = line.startsWith('error') ? line : `${hosts ? hosts(host) : host} ${seen}`
        return said === wanted
      }
      // It may have been started in this moment.
      await world.until('an answer', isRight, 3000).catch(() => same(`${protocol} ${address}`, said, wanted))
    }
}
