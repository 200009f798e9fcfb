import type { TunnelDriver, TunnelSpec } from '../../proto/model/host-spec.js'
import { direct } from './direct.js'
import { openvpn } from './openvpn.js'
import type { TunnelPieces } from './pieces.js'
import { wireguard } from './wireguard.js'
import { wireguardL2 } from './wireguard-l2.js'

const drivers: Record<TunnelDriver, (tunnel: TunnelSpec) => TunnelPieces> = {
  openvpn,
  wireguard,
  'wireguard-l2': wireguardL2,
  direct,
}

/** What one end of this tunnel needs in the kernel, whichever driver makes it. */
export const piecesOf = (tunnel: TunnelSpec): TunnelPieces => drivers[tunnel.driver](tunnel)
