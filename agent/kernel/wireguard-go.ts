/** When a wireguard-go process is ready to be configured (its cross-platform interface: wireguard.com/xplatform). */
import { createConnection } from 'node:net'
import { basename } from 'node:path'
import type { ProcessSpec } from '../plan/desired.js'
import { findLink } from './links.js'
import type { Netlink } from './netlink.js'

const answerTimeout = 1_000

/** The device that a wireguard-go process makes, its last argument; null for every other program. */
export const deviceOfWireguardGo = (process: ProcessSpec): string | null =>
  basename(process.argv[0]!) === 'wireguard-go' ? process.argv.at(-1)! : null

/** Whether its device is there and its socket answers `get=1`: the socket comes after the device. */
export async function isWireguardGoReady(netlink: Netlink, device: string): Promise<boolean> {
  return (await findLink(netlink, device)) !== null && (await answers(`/var/run/wireguard/${device}.sock`))
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
