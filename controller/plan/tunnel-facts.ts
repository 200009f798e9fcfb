import type { HostFacts } from '../../proto/model/facts.js'
import type { TunnelFacts } from './choose-tunnel.js'

/** The part of a host's facts that decides on drivers. */
export const tunnelFacts = (facts: HostFacts): TunnelFacts => ({
  kernelWireguard: facts.wireguard.available === 'yes',
  wireguardGo: facts.tools['wireguard-go'] !== undefined,
  wg: facts.tools.wg !== undefined,
  openvpn: facts.tools.openvpn?.version ?? null,
  tun: facts.tun.available === 'yes',
  vxlan: facts.vxlan.available === 'yes',
})
