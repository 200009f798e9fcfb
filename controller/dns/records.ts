/** The records that a fleet's names have, and what their own servers say. */
import { type Family, familyOf, type Ip } from '../../proto/model/address.js'
import type { Name } from '../../proto/model/names.js'
import type { Fleet, NameServer, Service } from '../config/fleet.js'
import { inParallel } from '../in-parallel.js'
import { addressPairs } from '../plan/addressing.js'
import { type AddressChange, familiesOf, type Side, sideOf, togetherOf } from '../plan/dns-verdict.js'
import { type AddressAnswer, askAddresses } from './ask.js'
import { findZone, type Zone } from './zone.js'

export interface RecordState {
  readonly service: Name
  /** As fleet.yaml has it; `zone.owner` is where the addresses are. */
  readonly name: string
  readonly family: Family
  readonly changes: readonly AddressChange[]
  readonly zone: Zone
  readonly servers: readonly ServerAnswer[]
  /** What the zone's servers say together. */
  readonly side: Side
  /** The longest that one of them lets its answer be kept; 0 where there is none. */
  readonly ttlSeconds: number
}

export interface ServerAnswer {
  readonly name: string
  readonly ip: Ip
  readonly answer: AddressAnswer
  readonly side: Side
}

/** Whoever knows all of the domain name system: undefined is this machine's own resolver. */
export const recursorOf = (fleet: Fleet): NameServer | undefined => fleet.dns.resolvers?.[0]

/**
 * Asks the servers of every name's zone. A service without names has none; a name of two services that
 * move between the same addresses comes twice.
 * @throws FleetmoveError, or an AggregateError, for names whose zone isn't found
 */
export async function readRecords(fleet: Fleet, services: readonly Service[]): Promise<RecordState[]> {
  const zones = new Map<string, Promise<Zone>>()
  const zoneOf = (name: string): Promise<Zone> => {
    const known = zones.get(name) ?? findZone(recursorOf(fleet), name)
    zones.set(name, known)
    return known
  }
  const wanted = services.flatMap((service) => {
    const changes = changesOf(fleet, service)
    return service.names.flatMap((name) => familiesOf(changes).map((family) => ({ service, name, family, changes })))
  })
  return inParallel(wanted, async ({ service, name, family, changes }) => {
    const zone = await zoneOf(name)
    const ours = changes.filter((change) => familyOf(change.old) === family)
    const servers = await inParallel(serversOf(fleet, zone), (server) => askServer(server, zone.owner, family, ours))
    return {
      service: service.name,
      name,
      family,
      changes: ours,
      zone,
      servers,
      side: togetherOf(servers.map(({ side }) => side)),
      ttlSeconds: Math.max(0, ...servers.map(({ answer }) => (answer.kind === 'addresses' ? answer.ttlSeconds : 0))),
    }
  })
}

export async function askServer(
  server: NameServer & { readonly name: string },
  name: string,
  family: Family,
  changes: readonly AddressChange[],
): Promise<ServerAnswer> {
  const answer = await askAddresses(server, name, family)
  const side = answer.kind === 'addresses' ? sideOf(answer.addresses, changes) : answer.kind
  return { name: server.name, ip: server.ip, answer, side }
}

export function changesOf(fleet: Fleet, service: Service): AddressChange[] {
  const pairs = addressPairs(service, fleet.hosts.get(service.from)!, fleet.hosts.get(service.to)!)
  return pairs.map((pair) => ({ old: pair.old.public, new: pair.new.public }))
}

/** The zone's own, and the one that takes our updates, which may be hidden from the world. */
function serversOf(fleet: Fleet, zone: Zone): (NameServer & { readonly name: string })[] {
  const { means } = fleet.dns
  const hidden = means?.kind === 'update' ? means.server : undefined
  const known = zone.servers.some(({ ip, port }) => ip === hidden?.ip && port === hidden.port)
  return [...(hidden === undefined || known ? [] : [{ ...hidden, name: 'primary' }]), ...zone.servers]
}
