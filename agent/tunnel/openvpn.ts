import { familyOf } from '../../proto/model/address.js'
import type { TunnelSpec } from '../../proto/model/host-spec.js'
import { paths, tunnelDevice } from '../plan/own.js'
import { keyFiles } from './key-files.js'
import { macAddress } from './mac-address.js'
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
    links: [{ kind: 'tap', name: device, mac: macAddress(tunnel), mtu: tunnel.mtu }],
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
    // Nothing is written there, but OpenVPN won't start without one, and in the unit's sandbox /tmp is read-only.
    `tmp-dir ${paths.run}`,

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

    // The peer's process may restart at any time. Its new session is taken at once; these numbers are for
    // an end that was away longer: after 5 s of silence start over, every 1 to 2 s. Without the cap the
    // pause doubles up to 300 s, in which the peer finds nobody (8 s after 60 s away, against 1 s).
    'ping 1',
    'ping-restart 5',
    'connect-retry 1 2',
    // The first handshake's packet meets a closed port when this end is the earlier one: 1 s, not 2 s, to the next.
    'tls-timeout 1',
    // A restart binds the port again, which an unprivileged user may not do below 1024.
    ...(tunnel.port >= 1024 ? ['user nobody'] : []),
    'persist-tun',
    'persist-key',
    'verb 1',
  ]
  return `${lines.join('\n')}\n`
}
