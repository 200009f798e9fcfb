/** Questions to name servers, each to one server alone. Answers are data from outside: only addresses come through. */
import { Resolver } from 'node:dns/promises'
import { type Family, hostPort, type Ip } from '../../proto/model/address.js'
import { parseIp } from '../../proto/parse.js'
import type { NameServer } from '../config/fleet.js'

export type AddressAnswer =
  /** `ttlSeconds` is the least along a chain of aliases: how long the answer may be kept. */
  | { readonly kind: 'addresses'; readonly addresses: readonly Ip[]; readonly ttlSeconds: number }
  /** The name or the type isn't there. */
  | { readonly kind: 'none' }
  | { readonly kind: 'failed'; readonly reason: string }

/** Milliseconds for the first try; the second may take twice as long. */
const patience = { timeout: 1500, tries: 2 }

/** A resolver that asks `server` alone; this machine's own where there is none. */
export function resolverFor(server: NameServer | undefined): Resolver {
  const resolver = new Resolver(patience)
  if (server) resolver.setServers([hostPort(server.ip, server.port)])
  return resolver
}

/** The A (family 4) or AAAA records of a name, sorted. Doesn't throw. */
export async function askAddresses(
  server: NameServer | undefined,
  name: string,
  family: Family,
): Promise<AddressAnswer> {
  try {
    const resolver = resolverFor(server)
    const records = await (family === 4
      ? resolver.resolve4(name, { ttl: true })
      : resolver.resolve6(name, { ttl: true }))
    const addresses = records.flatMap(({ address }) => {
      const parsed = parseIp(address)
      return parsed.ok ? [parsed.value] : []
    })
    if (addresses.length === 0) return { kind: 'none' }
    return { kind: 'addresses', addresses: addresses.sort(), ttlSeconds: Math.min(...records.map(({ ttl }) => ttl)) }
  } catch (error) {
    return isAbsence(error) ? { kind: 'none' } : { kind: 'failed', reason: reasonOf(error) }
  }
}

/** No such name, or none of its records is of this type (RFC 8020, RFC 2308). */
export const isAbsence = (error: unknown): boolean => ['ENOTFOUND', 'ENODATA'].includes(codeOf(error))

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? ''

/** c-ares names its errors; these are those that an operator meets. */
export function reasonOf(error: unknown): string {
  const code = codeOf(error)
  if (code === 'ETIMEOUT') return 'no answer'
  if (code === 'ECONNREFUSED') return 'nobody listens there'
  if (code === 'EREFUSED') return 'refused to answer'
  return code === 'ESERVFAIL' ? 'server failure' : (error as Error).message
}

/** The names of an address (PTR), in lower case; empty where there is none or nobody answers. */
export async function askNames(server: NameServer | undefined, address: Ip): Promise<string[]> {
  const names = await resolverFor(server)
    .reverse(address)
    .catch(() => [])
  // Whoever owns the address writes these: nothing that a terminal would obey.
  return names.map((name) => name.toLowerCase()).filter((name) => /^[a-z0-9_.-]{1,253}$/.test(name))
}
