/** Where a name's record really is: behind its aliases, in which zone, on which servers. */
import { familyOf, type Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import { parseIp } from '../../proto/parse.js'
import type { NameServer } from '../config/fleet.js'
import { isAbsence, reasonOf, resolverFor } from './ask.js'

export interface Zone {
  /** The name that has the addresses: the one asked for, or what it is an alias of. */
  readonly owner: string
  readonly zone: string
  /** The zone's name servers with their names. */
  readonly servers: readonly ZoneServer[]
  /** The one that the SOA record calls the primary (RFC 1035 3.3.13), where its address is known. */
  readonly primary: NameServer | undefined
}

export interface ZoneServer extends NameServer {
  readonly name: string
}

/** More are a loop, or a mistake. */
const mostAliases = 8

/**
 * @param asked who knows all of the domain name system: any recursive resolver
 * @throws FleetmoveError('unreachable') when it doesn't answer, ('preflight') when there is no such zone
 */
export async function findZone(asked: NameServer | undefined, name: string): Promise<Zone> {
  const owner = await followAliases(asked, name)
  const resolver = resolverFor(asked)
  // From the name upwards: the first that has name servers is the zone that the record is in.
  for (let zone = owner; zone.includes('.'); zone = zone.slice(zone.indexOf('.') + 1)) {
    const names = await orNothing(asked, name, () => resolver.resolveNs(zone))
    if (names.length === 0) continue
    const soa = await orNothing(asked, name, async () => [await resolver.resolveSoa(zone)])
    const servers = (await Promise.all(names.map((server) => addressesOf(asked, server)))).flat()
    const primaryName = soa[0]?.nsname.toLowerCase()
    const primary =
      servers.find((server) => server.name === primaryName) ??
      (primaryName === undefined ? undefined : (await addressesOf(asked, primaryName))[0])
    return { owner, zone, servers, primary }
  }
  throw new FleetmoveError('preflight', {
    message: `${name}: no zone was found that it could be in`,
    hint: 'correct names: in fleet.yaml, or name a resolver that knows it with dns.resolvers',
  })
}

async function followAliases(asked: NameServer | undefined, name: string): Promise<string> {
  let owner = name
  for (let aliases = 0; aliases < mostAliases; aliases++) {
    const [target] = await orNothing(asked, name, () => resolverFor(asked).resolveCname(owner))
    if (target === undefined) return owner
    owner = target.toLowerCase()
  }
  throw new FleetmoveError('preflight', {
    message: `${name} is an alias of an alias, more than ${mostAliases} times`,
    hint: 'correct its CNAME records',
  })
}

async function addressesOf(asked: NameServer | undefined, server: string): Promise<ZoneServer[]> {
  const resolver = resolverFor(asked)
  const found = await Promise.all([
    resolver.resolve4(server).catch((): string[] => []),
    resolver.resolve6(server).catch((): string[] => []),
  ])
  const ips = found.flat().flatMap((text): Ip[] => {
    const parsed = parseIp(text)
    return parsed.ok ? [parsed.value] : []
  })
  // One address a family: the others are the same server.
  return ([4, 6] as const).flatMap((family) => {
    const ip = ips.find((each) => familyOf(each) === family)
    return ip === undefined ? [] : [{ name: server.toLowerCase(), ip, port: 53 }]
  })
}

async function orNothing<T>(asked: NameServer | undefined, name: string, ask: () => Promise<T[]>): Promise<T[]> {
  try {
    return await ask()
  } catch (error) {
    if (isAbsence(error)) return []
    const who = asked === undefined ? "this machine's resolver" : `the resolver ${asked.ip}`
    throw new FleetmoveError('unreachable', {
      message: `${name}: ${who} doesn't tell its zone: ${reasonOf(error)}`,
      hint: 'name a resolver that answers with dns.resolvers in fleet.yaml',
      cause: error,
    })
  }
}
