/**
 * WireGuard's keys and peers by `wg` (wg(8)), which speaks netlink to the kernel's devices and the text
 * protocol of /var/run/wireguard/NAME.sock to wireguard-go's.
 */
import { hostPort } from '../../proto/model/address.js'
import type { Link } from './links.js'
import type { ObservedWireguard } from './observed.js'
import type { Performers } from './step.js'
import { runTool, ToolMissing } from './tool.js'

/**
 * Reads `wg show all dump`: tab-separated, a device's line with 5 fields (device, private key, public key,
 * port, mark), a peer's with 9 (device, public key, preshared key, endpoint, allowed IPs, …).
 */
export function parseWireguardDump(dump: string): ObservedWireguard[] {
  const devices = new Map<string, ObservedWireguard>()
  for (const line of dump.split('\n')) {
    const fields = line.split('\t')
    const name = fields[0]!
    if (fields.length === 5) devices.set(name, { name, listenPort: Number(fields[3]), peers: [] })
    if (fields.length !== 9) continue
    devices.get(name)?.peers.push({
      publicKey: fields[1]!,
      endpoint: fields[3] === '(none)' ? null : fields[3]!,
      allowedIps: fields[4] === '(none)' ? [] : fields[4]!.split(','),
    })
  }
  return [...devices.values()]
}

/** @param links those of this namespace: the directory of wireguard-go's sockets is shared by all of them */
export async function observeWireguard(links: readonly Link[]): Promise<ObservedWireguard[]> {
  const candidates = new Set(
    links.filter((link) => link.kind === 'wireguard' || link.kind === 'tun').map((l) => l.name),
  )
  if (candidates.size === 0) return []
  try {
    const devices = parseWireguardDump(await runTool('wg', ['show', 'all', 'dump']))
    return devices.filter((device) => candidates.has(device.name))
  } catch (error) {
    if (error instanceof ToolMissing) return []
    throw error
  }
}

/** @param privateKeyFile base64, as `wg genkey` writes it */
export const wireguardPerformers = (privateKeyFile: string): Pick<Performers, 'configure-wireguard'> => ({
  'configure-wireguard': async ({ link }) => {
    const present = (await runTool('wg', ['show', link.name, 'peers'])).split('\n').filter((key) => key !== '')
    const stale = present.filter((key) => key !== link.peer.publicKey)
    await runTool('wg', [
      ...['set', link.name, 'listen-port', String(link.listenPort), 'private-key', privateKeyFile],
      // Away first: an allowed address belongs to one peer at a time.
      ...stale.flatMap((key) => ['peer', key, 'remove']),
      ...['peer', link.peer.publicKey],
      ...['endpoint', hostPort(link.peer.endpoint.address, link.peer.endpoint.port)],
      ...['allowed-ips', link.peer.allowedIps.join(',')],
      // wg(8)'s own figure: shorter than any stateful firewall's or translator's memory of UDP.
      ...['persistent-keepalive', '25'],
    ])
  },
})
