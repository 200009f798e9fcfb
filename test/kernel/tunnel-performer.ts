import { piecesOf } from '../../agent/tunnel/tunnel.js'
import type { TunnelSpec } from '../../proto/model/host-spec.js'
import { type NamespaceHost, type RunningProcess, until } from './namespace-host.js'

/** Makes what a driver asks for with `ip`, `wg` and the drivers' own programs, in the order of the pieces. */
export class TunnelPerformer {
  readonly processes = new Map<string, RunningProcess>()
  constructor(
    readonly host: NamespaceHost,
    readonly tunnel: TunnelSpec,
  ) {}

  async up(): Promise<void> {
    const pieces = piecesOf(this.tunnel)
    const { host } = this
    for (const link of pieces.links) {
      if (link.kind === 'tap') await host.sh(`ip tuntap add mode tap name ${link.name}`)
      if (link.kind === 'wireguard') {
        if (link.userspace) await this.start(`wireguard-${link.name}`)
        else await host.sh(`ip link add ${link.name} type wireguard`)
        const { publicKey, endpoint, allowedIps } = link.peer
        const end = endpoint.address.includes(':') ? `[${endpoint.address}]` : endpoint.address
        await host.sh(
          `wg set ${link.name} listen-port ${link.listenPort} private-key /var/lib/fleetmove/keys/wireguard.key` +
            ` peer ${publicKey} endpoint ${end}:${endpoint.port} allowed-ips ${allowedIps.join(',')}`,
        )
      }
      if (link.kind === 'vxlan') {
        await host.sh(
          `ip link add ${link.name} type vxlan id ${link.vni} local ${link.local} remote ${link.remote}` +
            ` dstport ${link.port} dev ${link.under} nolearning`,
        )
      }
      if (link.kind !== 'existing') await host.sh(`ip link set ${link.name} mtu ${link.mtu} up`)
    }
    for (const { name } of pieces.processes) if (!this.processes.has(name)) await this.start(name)
    for (const { device, ip, prefix } of pieces.addresses)
      await host.sh(`ip addr add ${ip}/${prefix} dev ${device}${ip.includes(':') ? ' nodad' : ''}`)
  }

  async start(name: string): Promise<void> {
    const spec = piecesOf(this.tunnel).processes.find((process) => process.name === name)!
    if (spec.config !== null)
      await this.host.exec('sh', '-ec', 'umask 077; printf %s "$1" > "$2"', 'sh', spec.config.content, spec.config.path)
    this.processes.set(name, this.host.spawn(spec.argv, spec.env))
    const made = /^wireguard-(.*)/.exec(name)?.[1]
    if (made !== undefined)
      await until(`wireguard-go's socket of ${made}`, 5000, () => this.host.succeeds('wg', 'show', made))
  }
}
