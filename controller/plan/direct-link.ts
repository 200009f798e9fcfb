/** Driver `direct`: which device of each host is the link that is there already. Pure. */
import type { Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import type { HostFacts } from '../../proto/model/facts.js'
import type { Name } from '../../proto/model/names.js'
import type { Fleet } from '../config/fleet.js'

export interface DirectEnd {
  device: string
  address4: Ip
  /** The device's link-local address: every IPv6 link has one, and it needs no plan of ours. */
  address6: Ip
  mtu: number
}

/** @throws FleetmoveError 'preflight' that says what the link lacks. */
export function directEnds(input: {
  a: Name
  b: Name
  fleet: Fleet
  facts: (host: Name) => HostFacts
}): Map<Name, DirectEnd> {
  return new Map(
    [input.a, input.b].map((host) => [host, end(host, input.fleet.hosts.get(host)?.direct, input.facts(host))]),
  )
}

function end(host: Name, address: Ip | undefined, facts: HostFacts): DirectEnd {
  const fail = (message: string, hint: string): never => {
    throw new FleetmoveError('preflight', { message, hint, host })
  }
  if (address === undefined || address.includes(':')) {
    return fail('driver direct needs an IPv4 address of the link', `write direct: ADDRESS under hosts: ${host}:`)
  }
  const holder = facts.addresses.find((known) => known.address === address)
  if (!holder) return fail(`${address} is on no interface`, `correct hosts.${host}.direct in fleet.yaml`)
  const local = facts.addresses.find(
    (known) => known.device === holder.device && known.scope === 'link' && known.address.startsWith('fe80:'),
  )
  if (!local)
    return fail(
      `${holder.device} has no IPv6 link-local address`,
      `enable IPv6 on it: sysctl net.ipv6.conf.${holder.device}.disable_ipv6=0`,
    )
  const mtu = facts.links.find((link) => link.name === holder.device)?.mtu ?? 1500
  return { device: holder.device, address4: address, address6: local.address as Ip, mtu }
}
