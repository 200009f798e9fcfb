import { familyOf } from '../../proto/model/address.js'
import type { TunnelSpec } from '../../proto/model/host-spec.js'
import { paths, tunnelDevice } from '../plan/own.js'
import { keyFiles } from './key-files.js'
import { ownAddresses } from './own-addresses.js'
import type { TunnelPieces } from './pieces.js'

/**
 * OpenVPN over UDP between two peers with pinned certificates, on a persistent tap device.
 * The options are those of openvpn(8) 2.6; see docs/decisions for what was measured.
 */
export const openvpn = (tunnel: TunnelSpec): TunnelPieces => {
  const device = tunnelDevice(tunnel.index)
  const name = `openvpn-${device}`
  const path = `${paths.run}/${name}.conf`
  return {
    device,
    links: [{ kind: 'tap', name: device, mtu: tunnel.mtu }],
    processes: [
      { name, argv: ['openvpn', '--config', path], env: {}, config: { path, content: configuration(tunnel, device) } },
    ],
    addresses: ownAddresses(tunnel, device),
    layer: 2,
  }
}

const configuration = (tunnel: TunnelSpec, device: string): string => {
  // Without the number, `udp` lets the resolver choose a wildcard socket of the other family.
  const protocol = familyOf(tunnel.remote) === 6 ? 'udp6' : 'udp4'
  const lines = [
    'mode p2p',
    tunnel.role === 'server' ? 'tls-server' : 'tls-client',
    `dev ${device}`,
    'dev-type tap',
    `proto ${protocol}`,
    `port ${tunnel.port}`,
    `remote ${tunnel.remote} ${tunnel.port} ${protocol}`,
    // A peer with several addresses may answer from another one; packets must still authenticate.
    'float',

    `cert ${paths.keys}/${keyFiles.openvpnCertificate}`,
    `key ${paths.keys}/${keyFiles.openvpnKey}`,
    `peer-fingerprint ${tunnel.peerIdentity}`,
    ...(tunnel.role === 'server' ? ['dh none'] : []),
    'tls-version-min 1.2',
    'data-ciphers AES-256-GCM:CHACHA20-POLY1305',
    'auth-nocache',
    'script-security 0',

    // Clients' packets go to the peer's own public address, inside: that isn't a routing loop here.
    'allow-recursive-routing',
    // A tap can't be offloaded to the kernel; said aloud, it isn't tried.
    'disable-dco',
    `tun-mtu ${tunnel.mtu}`,
    // TCP is clamped in our own table; OpenVPN's would look into every packet again.
    'mssfix 0',
    // No DF on the outer packets: where the path is narrower than measured they are fragmented, not lost.
    'mtu-disc no',
    // 2 MiB: a burst of clients outruns the default 208 KiB (the kernel cuts this to net.core.rmem_max).
    'sndbuf 2097152',
    'rcvbuf 2097152',
    'txqueuelen 1000',

    'ping 1',
    'ping-restart 5',
    'persist-tun',
    'persist-key',
    'verb 1',
  ]
  return `${lines.join('\n')}\n`
}
