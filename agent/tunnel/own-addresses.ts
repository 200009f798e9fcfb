import type { TunnelSpec } from '../../proto/model/host-spec.js'
import type { AddressSpec } from '../plan/desired.js'

/** The addresses of this end on a device that fleetmove made: the peer is the other one of a /30 and a /126. */
export const ownAddresses = (tunnel: TunnelSpec, device: string): AddressSpec[] => [
  { device, ip: tunnel.local4, prefix: 30 },
  { device, ip: tunnel.local6, prefix: 126 },
]
