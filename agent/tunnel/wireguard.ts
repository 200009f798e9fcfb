import type { TunnelSpec } from '../../proto/model/host-spec.js'
import { tunnelDevice } from '../plan/own.js'
import { ownAddresses } from './own-addresses.js'
import type { TunnelPieces } from './pieces.js'
import { wireguardGo } from './wireguard-go.js'

/**
 * WireGuard alone, layer 3. The peer is allowed every address, since the packets in the tunnel bear
 * the clients' own; what is routed into it is decided by our marks, never by these lists (wg-quick
 * would make routes of them, the kernel doesn't).
 */
export const wireguard = (tunnel: TunnelSpec): TunnelPieces => {
  const device = tunnelDevice(tunnel.index)
  return {
    device,
    links: [
      {
        kind: 'wireguard',
        name: device,
        mtu: tunnel.mtu,
        userspace: tunnel.userspace,
        listenPort: tunnel.port,
        peer: {
          publicKey: tunnel.peerIdentity,
          endpoint: { address: tunnel.remote, port: tunnel.port },
          allowedIps: ['0.0.0.0/0', '::/0'],
        },
      },
    ],
    processes: tunnel.userspace ? [wireguardGo(device)] : [],
    addresses: ownAddresses(tunnel, device),
    layer: 3,
  }
}
