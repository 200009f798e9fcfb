import { familyOf, type Ip } from '../../proto/model/address.js'
import { quote } from '../../proto/parse.js'
import { addressPairs } from '../plan/addressing.js'
import type { Draft } from './draft.js'
import type { Path } from './fleet-document.js'
import type { HostEntry, ServiceEntry } from './fleet-schema.js'
import { foundAllowed, type Problem } from './problem.js'

/** Addresses of hosts against each other, and of services against their hosts. */
export function checkAddresses(draft: Draft): Problem[] {
  return [...checkHosts(draft), ...[...draft.services].flatMap(([name, service]) => checkService(draft, name, service))]
}

interface Standing {
  host: string
  path: Path
  kind: 'public' | 'local'
  ip: Ip
}

function standings(name: string, host: Partial<HostEntry>): Standing[] {
  return (host.addresses ?? []).flatMap((address, i) => {
    const path = ['hosts', name, 'addresses', i]
    const all: Standing[] = [{ host: name, path, kind: 'public', ip: address.public }]
    if (address.local !== undefined)
      all.push({ host: name, path: [...path, 'local'], kind: 'local', ip: address.local })
    return all
  })
}

/**
 * A public address is one host's, and once. Private ones may recur in another provider's network, but not
 * on both hosts of a move: packets for the peer would be taken for the host's own.
 */
function checkHosts({ hosts, services }: Draft): Problem[] {
  const problems: Problem[] = []
  const pairs = new Set([...services.values()].flatMap(({ from, to }) => [`${from} ${to}`, `${to} ${from}`]))
  const all: Standing[] = [...hosts].flatMap(([name, host]) => standings(name, host))
  all.forEach((one, i) => {
    const clash = all.slice(0, i).find((other) => {
      if (other.ip !== one.ip) return false
      if (one.kind === other.kind && (one.kind === 'public' || one.host === other.host)) return true
      return one.host !== other.host && pairs.has(`${one.host} ${other.host}`)
    })
    if (clash === undefined) return
    const where = clash.host === one.host ? 'which stands there already' : `which host ${clash.host} has too`
    problems.push({
      path: one.path,
      at: 'value',
      text: foundAllowed(`${quote(one.ip)}, ${where}`, 'an address of its own'),
    })
  })
  for (const [name, host] of hosts) {
    host.addresses?.forEach((address, i) => {
      if (address.local === undefined || familyOf(address.local) === familyOf(address.public)) return
      const text = foundAllowed(
        quote(address.local),
        `an IPv${familyOf(address.public)} address as ${address.public} is`,
      )
      problems.push({ path: ['hosts', name, 'addresses', i, 'local'], at: 'value', text })
    })
  }
  return problems
}

function checkService(draft: Draft, name: string, service: Partial<ServiceEntry>): Problem[] {
  const { from, to } = service
  if (from === undefined || to === undefined || from === to) return []
  const [before, after] = [draft.hosts.get(from), draft.hosts.get(to)]
  if (before === undefined || after === undefined) return []
  const direct = draft.tunnel.driver === 'direct' ? checkDirect(from, to, before, after) : []
  if (before.addresses === undefined || after.addresses === undefined) return direct
  const hosts = { before: { name: from, addresses: before.addresses }, after: { name: to, addresses: after.addresses } }
  return [...direct, ...checkMapping(name, service, hosts.before, hosts.after)]
}

type Addressed = { name: string; addresses: HostEntry['addresses'] }

function checkMapping(name: string, service: Partial<ServiceEntry>, before: Addressed, after: Addressed): Problem[] {
  const problems: Problem[] = []
  const path = (key: string): Path => ['services', name, 'addresses', key]
  const unknown = (ip: Ip, at: 'key' | 'value', key: string, host: Addressed) => {
    const publics = host.addresses.map((address) => address.public)
    if (publics.includes(ip)) return false
    const allowed = `an address of host ${host.name}: ${publics.join(', ')}`
    problems.push({ path: path(key), at, text: foundAllowed(quote(ip), allowed, { text: ip, candidates: publics }) })
    return true
  }
  const seen = { old: new Set<Ip>(), new: new Set<Ip>() }
  for (const mapping of service.addresses ?? []) {
    const { key } = mapping
    const strangers = [unknown(mapping.old, 'key', key, before), unknown(mapping.new, 'value', key, after)]
    if (!strangers.includes(true) && familyOf(mapping.old) !== familyOf(mapping.new)) {
      const text = foundAllowed(quote(mapping.new), `an IPv${familyOf(mapping.old)} address as ${mapping.old} is`)
      problems.push({ path: path(key), at: 'value', text })
    }
    for (const [side, at] of [
      ['old', 'key'],
      ['new', 'value'],
    ] as const) {
      if (seen[side].has(mapping[side])) {
        const text = foundAllowed(
          `${quote(mapping[side])} a second time`,
          'each address once: the way back must be clear',
        )
        problems.push({ path: path(key), at, text })
      }
      seen[side].add(mapping[side])
    }
  }
  const mapped = { addresses: service.addresses }
  if (problems.length === 0 && 'addresses' in service && addressPairs(mapped, before, after).length === 0) {
    if (service.addresses !== undefined) {
      const text = foundAllowed('an empty mapping', 'one pair of addresses or more, or no addresses key')
      problems.push({ path: ['services', name, 'addresses'], at: 'value', text })
    } else {
      const found = `${families(before)} on ${before.name} and ${families(after)} on ${after.name}`
      const text = foundAllowed(found, 'hosts that share a family of addresses')
      problems.push({ path: ['services', name, 'to'], at: 'value', text })
    }
  }
  return problems
}

const families = (host: Addressed) => `only IPv${familyOf(host.addresses[0]!.public)}`

/** The link that is there already must have an address at both ends, of one family. */
function checkDirect(from: string, to: string, before: Partial<HostEntry>, after: Partial<HostEntry>): Problem[] {
  const lacking = [[from, before] as const, [to, after] as const].filter(
    // A direct key that couldn't be read is told by the schema, and isn't in the draft at all.
    ([, host]) => 'direct' in host && host.direct === undefined,
  )
  if (lacking.length > 0) {
    return lacking.map(([host]) => ({
      path: ['hosts', host, 'direct'],
      at: 'key' as const,
      text: foundAllowed('nothing', "the host's address on the link that is there, for tunnel.driver is direct"),
    }))
  }
  if (before.direct === undefined || after.direct === undefined) return []
  if (before.direct === after.direct) {
    const text = foundAllowed(`${quote(after.direct)}, which host ${from} has too`, 'an address of its own')
    return [{ path: ['hosts', to, 'direct'], at: 'value', text }]
  }
  if (familyOf(before.direct) !== familyOf(after.direct)) {
    const allowed = `an IPv${familyOf(before.direct)} address as that of host ${from}, ${before.direct}, is`
    return [{ path: ['hosts', to, 'direct'], at: 'value', text: foundAllowed(quote(after.direct), allowed) }]
  }
  return []
}
