/** The source addresses of the two hosts' own processes and containers, when they come out of a tunnel. Pure. */
import { type Family, familyOf, type Ip } from '../../proto/model/address.js'
import type { TunnelSpec } from '../../proto/model/host-spec.js'

/** Where processes call services of their own host; 127.0.0.2 and others are not redirected. */
export const localhost = '127.0.0.1'

/** Rules of a nat chain in postrouting, ahead of those of others. */
export function localClients(t: TunnelSpec, device: string, uplinks: readonly string[]): string[] {
  return ([4, 6] as const).flatMap((family) => {
    const own = t.peerAddresses.filter((ip) => familyOf(ip) === family)
    const ip = family === 4 ? 'ip' : 'ip6'
    const snat = `snat ${ip} to ${hairpinSource(t, family)}`
    const behind = `oifname "${device}" iifname != { ${uplinks.map((name) => `"${name}"`).join(', ')} }`
    return [
      // The peer itself as a client of the address that we forward: it would drop a packet that
      // comes in with its own address as the source.
      ...(own.length > 0 ? [`oifname "${device}" ${ip} saddr { ${own.join(', ')} } ${snat}`] : []),
      ...(family === 4 ? [`oifname "${device}" ip saddr ${localhost} ${snat}`] : []),
      // Containers here, as other hosts see them: their own addresses lead nowhere there, or astray.
      ...(uplinks.length > 0 ? [`${behind} meta iifkind { "bridge", "veth" } meta nfproto ipv${family} ${snat}`] : []),
    ]
  })
}

/**
 * Whom the peer sees when it calls itself by us: an address of ours whose route there is the uplink. To
 * the tunnel's own address a server that is bound to all addresses answers UDP from its tunnel address,
 * which nobody has called. Both hosts may have the same private address, though.
 */
const hairpinSource = (t: TunnelSpec, family: Family): Ip =>
  t.probe.pairs.map(({ local }) => local).find((ip) => familyOf(ip) === family && !t.peerAddresses.includes(ip)) ??
  (family === 4 ? t.local4 : t.local6)
