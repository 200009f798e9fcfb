import type { Ip } from '../../proto/model/address.js'
import type { TunnelSpec } from '../../proto/model/host-spec.js'
import { tunnelDevice, underDevice } from '../plan/own.js'
import { macAddress } from './mac-address.js'
import { ownAddresses } from './own-addresses.js'
import type { TunnelPieces } from './pieces.js'
import { wireguardGo } from './wireguard-go.js'

/** Inner Ethernet 14, VXLAN 8, UDP 8, IPv6 40 (RFC 7348, 5): what VXLAN adds on the under device. */
const vxlanOverhead = 70

/** Not 4789, nor 8472: a VXLAN device of Docker, flannel or Cilium with other flags would refuse to share the socket. */
const vxlanPort = 5180
const vni = (tunnel: number): number => 5180 + tunnel

/**
 * The ends of the under device. Link-local IPv6 for two reasons: no other device's addresses can
 * collide with it, and for link-local ends alone the kernel takes VXLAN packets only from the device
 * that the tunnel rides on (vxlan_vs_find_vni). With other addresses anyone who reaches the host's
 * VXLAN port could inject frames in the clear, past WireGuard. Already in canonical text.
 */
const underAddress = (tunnel: number, role: TunnelSpec['role']): Ip =>
  `fe80::${tunnel.toString(16)}:${role === 'server' ? 1 : 2}` as Ip

/** WireGuard on `fmw<i>`, and VXLAN `fm<i>` over it: a layer 2 link. */
export const wireguardL2 = (tunnel: TunnelSpec): TunnelPieces => {
  const device = tunnelDevice(tunnel.index)
  const under = underDevice(tunnel.index)
  const local = underAddress(tunnel.index, tunnel.role)
  const remote = underAddress(tunnel.index, tunnel.role === 'server' ? 'client' : 'server')
  return {
    device,
    links: [
      {
        kind: 'wireguard',
        name: under,
        mtu: tunnel.mtu + vxlanOverhead,
        userspace: tunnel.userspace,
        listenPort: tunnel.port,
        peer: {
          publicKey: tunnel.peerIdentity,
          endpoint: { address: tunnel.remote, port: tunnel.port },
          allowedIps: [`${remote}/128`],
        },
      },
      {
        kind: 'vxlan',
        name: device,
        mac: macAddress(tunnel),
        mtu: tunnel.mtu,
        vni: vni(tunnel.index),
        local,
        remote,
        port: vxlanPort,
        under,
      },
    ],
    processes: tunnel.userspace ? [wireguardGo(under)] : [],
    addresses: [{ device: under, ip: local, prefix: 64 }, ...ownAddresses(tunnel, device)],
    layer: 2,
  }
}
