import type { z } from 'zod'
import { entries, type HostEntry, type ServiceEntry, type TunnelEntry } from './fleet-schema.js'

/**
 * What can be read of a file that may be wrong in places: each key of an entry by itself, under the names
 * as they stand. The checks of what must fit together work on this, so that one fault doesn't hide the others.
 */
export interface Draft {
  tunnel: Partial<TunnelEntry>
  hosts: ReadonlyMap<string, Partial<HostEntry>>
  services: ReadonlyMap<string, Partial<ServiceEntry>>
  vantages: readonly string[]
}

/** Reads `data`, the plain content of fleet.yaml, as far as it can be read. */
export function draftOf(data: unknown): Draft {
  const parts = isMapping(data) ? data : {}
  return {
    tunnel: readable(entries.tunnel, parts.tunnel),
    hosts: readableEach(entries.host, parts.hosts),
    services: readableEach(entries.service, parts.services),
    vantages: isMapping(parts.vantages) ? Object.keys(parts.vantages) : [],
  }
}

const isMapping = (data: unknown): data is Record<string, unknown> =>
  typeof data === 'object' && data !== null && !Array.isArray(data)

function readableEach<Schema extends z.ZodObject>(schema: Schema, data: unknown) {
  const named = isMapping(data) ? Object.entries(data) : []
  return new Map(named.map(([name, entry]) => [name, readable(schema, entry)]))
}

function readable<Schema extends z.ZodObject>(schema: Schema, data: unknown): Partial<z.output<Schema>> {
  const values = isMapping(data) ? data : {}
  const read = Object.entries<z.ZodType>(schema.shape).flatMap(([key, field]) => {
    const parsed = field.safeParse(Object.hasOwn(values, key) ? values[key] : undefined)
    return parsed.success ? [[key, parsed.data] as const] : []
  })
  return Object.fromEntries(read) as Partial<z.output<Schema>>
}
