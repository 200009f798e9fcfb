import type { TunnelSpec } from '../../proto/model/host-spec.js'
import type { TunnelPieces } from './pieces.js'

/**
 * A link between the two hosts that is there already (a provider's private network, a VLAN). Nothing
 * is made: `local4`, `peer4`, `local6` and `peer6` are the addresses that the hosts have on it.
 */
export const direct = (tunnel: TunnelSpec): TunnelPieces => ({
  device: tunnel.device,
  links: [{ kind: 'existing', name: tunnel.device }],
  processes: [],
  addresses: [],
  layer: 2,
})
