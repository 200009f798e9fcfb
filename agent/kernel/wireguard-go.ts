/** When a wireguard-go process is ready to be configured (its cross-platform interface: wireguard.com/xplatform). */
import { existsSync, rmdirSync, rmSync } from 'node:fs'
import { createConnection } from 'node:net'
import { basename } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { ProcessSpec } from '../plan/desired.js'
import { deleteLink, findLink } from './links.js'
import type { Netlink } from './netlink.js'

const answerTimeout = 1_000
/** A socket that is still there then was left by a process that was killed; the next one removes it itself. */
const endTimeout = 1_000

/** The device that a wireguard-go process makes, its last argument; null for every other program. */
export const deviceOfWireguardGo = (process: ProcessSpec): string | null =>
  basename(process.argv[0]!) === 'wireguard-go' ? process.argv.at(-1)! : null

const socketDirectory = '/var/run/wireguard'
const socketOf = (device: string): string => `${socketDirectory}/${device}.sock`

/**
 * After a process of that name (see wireguardProcess in agent/plan/make-room.ts) has ended: wireguard-go
 * makes the directory and leaves it, and its socket too when it is killed. Every other name is passed over.
 */
export function sweepAfterWireguardGo(processName: string): void {
  const device = /^wireguard-(.+)$/.exec(processName)?.[1]
  if (device === undefined) return
  rmSync(socketOf(device), { force: true })
  try {
    rmdirSync(socketDirectory)
  } catch (error) {
    // Sockets of others are in it, or it was never made.
    if (!['ENOTEMPTY', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}

/**
 * Removes what bears the name of a device that wireguard-go is to make: a tap of the driver before, or the
 * device of a process whose pid file was lost, which ends by that. Waits for its socket to go too, because
 * a process that ends late would take the new one's away. Devices of other kinds are left, and the start fails.
 */
export async function clearWayForWireguardGo(netlink: Netlink, device: string): Promise<void> {
  if ((await findLink(netlink, device))?.kind !== 'tun') return
  await deleteLink(netlink, device)
  const deadline = performance.now() + endTimeout
  while (existsSync(socketOf(device)) && performance.now() < deadline) await delay(10)
}

/** Whether its device is there and its socket answers `get=1`: the socket comes after the device. */
export async function isWireguardGoReady(netlink: Netlink, device: string): Promise<boolean> {
  return (await findLink(netlink, device)) !== null && (await answers(socketOf(device)))
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path)
    const done = (answered: boolean): void => {
      socket.destroy()
      resolve(answered)
    }
    socket.setTimeout(answerTimeout, () => done(false))
    socket.once('error', () => done(false))
    socket.once('close', () => done(false))
    socket.once('connect', () => socket.write('get=1\n\n'))
    socket.once('data', () => done(true))
  })
}
