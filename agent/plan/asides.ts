/**
 * Handing packets over to the other host of a segment: those for a moved address that belong to connections
 * which this host doesn't know, and those that it forwards. Pure.
 *
 * In tables of their own, because nft_dup is there for the families ip and ip6 and not for inet. `dup` sends
 * the packet as it is, by the other host's Ethernet address or into the tunnel; as a route it could not be had,
 * since the table `local` stands before all others and this host has the address.
 */
import { familyOf, type Ip } from '../../proto/model/address.js'
import type { MovedAddress } from '../../proto/model/host-spec.js'
import type { AsideTable } from './desired.js'
import { fingerprint } from './fingerprint.js'
import { intoTunnel, markMask, table } from './own.js'

export interface AsideTunnel {
  index: number
  device: string
  peer4: Ip
  peer6: Ip
}

/** Behind conntrack (-200), ahead of every translation. */
const beforeTranslation = -145
/** Behind the one place where the kernel translates destinations (NF_IP_PRI_NAT_DST). */
const afterTranslation = -95

export function asideTables(moved: readonly MovedAddress[], tunnels: readonly AsideTunnel[]): AsideTable[] {
  return ([4, 6] as const).flatMap((family): AsideTable[] => {
    const own = moved
      .filter(({ as }) => as !== 'settled')
      .filter(({ address }) => familyOf(address) === family)
      .sort((x, y) => (x.address < y.address ? -1 : 1))
    if (own.length === 0) return []
    const ip = family === 4 ? 'ip' : 'ip6'
    const errors =
      family === 4
        ? 'icmp type { destination-unreachable, time-exceeded, parameter-problem }'
        : 'icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }'
    const over = own.flatMap((each) => {
      if (each.as !== 'taken' && each.as !== 'returned') return []
      const { address } = each
      const to = `dup to ${each.aside}`
      return [
        // A connection that is picked up in its middle is new to conntrack.
        `${ip} daddr ${address} ct state new tcp flags & (fin | syn | rst | ack) != syn ${to} drop`,
        // As the first packet of a connection conntrack finds its end invalid (nf_conntrack_proto_tcp.c, tcp_conntracks).
        `${ip} daddr ${address} ct state invalid tcp flags & (fin | rst) != 0 ${to} drop`,
        `${ip} daddr ${address} ct state invalid ${errors} ${to} drop`,
      ]
    })
    // Connections by the new host's own address that it has forwarded to this one since before it had it itself.
    const forwarded = own.flatMap(({ address, as }) => {
      if (as === 'returned') return []
      return tunnels.map(({ index, device, peer4, peer6 }) => {
        const mark = `ct mark & 0x${markMask.toString(16)} == 0x${intoTunnel(index).toString(16).padStart(8, '0')}`
        return `${ip} daddr ${address} ct direction original ${mark} dup to ${family === 4 ? peer4 : peer6} device "${device}" drop`
      })
    })
    const stamp = fingerprint([...over, ...forwarded].join('\n'))
    const text = [
      `add table ${ip} ${table}`,
      `delete table ${ip} ${table}`,
      `add table ${ip} ${table}`,
      `add chain ${ip} ${table} aside { type filter hook prerouting priority ${beforeTranslation}; policy accept; }`,
      `add chain ${ip} ${table} forwarded { type filter hook prerouting priority ${afterTranslation}; policy accept; }`,
      ...over.map((rule) => `add rule ${ip} ${table} aside ${rule}`),
      ...forwarded.map((rule) => `add rule ${ip} ${table} forwarded ${rule}`),
      `add rule ${ip} ${table} aside accept comment "fleetmove:${stamp}"`,
      '',
    ].join('\n')
    return [{ family, fingerprint: stamp, rules: over.length + forwarded.length + 1, text }]
  })
}
