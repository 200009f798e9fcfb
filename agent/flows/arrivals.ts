/** Who still arrives by this host's addresses: what the ruleset has written down. */
import { z } from 'zod'
import type { Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import type { Protocol } from '../../proto/model/host-spec.js'
import { parseIp } from '../../proto/parse.js'
import { runTool, ToolFailed } from '../kernel/tool.js'
import { table } from '../plan/own.js'

export interface ArrivalRecord {
  client: Ip
  /** The address and port that the client used. */
  address: Ip
  protocol: Protocol
  port: number
  /** Connections opened. */
  count: number
  lastSeenMsAgo: number
}

/** Connections opened since the table was made, by service. */
export interface OpenedCount {
  forwarded: number
  served: number
}

const listed = z.object({
  nftables: z.array(
    z.object({
      set: z
        .object({
          timeout: z.number(),
          elem: z.array(z.unknown()).optional(),
        })
        .optional(),
      counter: z.object({ name: z.string(), packets: z.number() }).optional(),
    }),
  ),
})
const element = z.object({
  elem: z.object({
    val: z.object({ concat: z.tuple([z.string(), z.string(), z.union([z.string(), z.number()]), z.number()]) }),
    expires: z.number(),
    counter: z.object({ packets: z.number() }).optional(),
  }),
})

/** IANA numbers, and names as nft prints them without -n. */
const protocols: Record<string, Protocol> = { 6: 'tcp', 17: 'udp', tcp: 'tcp', udp: 'udp' }

/** Clients whose connections this host forwarded, the latest first; empty without our table. */
export async function readArrivals(): Promise<ArrivalRecord[]> {
  const lists = await Promise.all(['arrivals4', 'arrivals6'].map((set) => list('set', 'inet', table, set)))
  return lists
    .flatMap((json) => (json === null ? [] : parseArrivals(json)))
    .sort((a, b) => a.lastSeenMsAgo - b.lastSeenMsAgo)
}

/** By service's name; empty without our table. */
export async function readOpened(): Promise<Map<string, OpenedCount>> {
  const json = await list('counters', 'table', 'inet', table)
  return json === null ? new Map() : parseOpened(json)
}

/** What each counter of our table has counted, by its name; empty without our table. */
export async function readCounters(): Promise<Map<string, number>> {
  const json = await list('counters', 'table', 'inet', table)
  if (json === null) return new Map()
  return new Map(
    listed
      .parse(JSON.parse(json))
      .nftables.flatMap(({ counter }) => (counter ? [[counter.name, counter.packets]] : [])),
  )
}

/** The JSON of `nft -nn -j list set` → its elements. Timeouts are whole seconds there. */
export function parseArrivals(json: string): ArrivalRecord[] {
  return listed.parse(JSON.parse(json)).nftables.flatMap(({ set }) => {
    if (!set) return []
    return (set.elem ?? []).flatMap((each): ArrivalRecord[] => {
      const { val, expires, counter } = element.parse(each).elem
      const [client, address] = [parseIp(val.concat[0]), parseIp(val.concat[1])]
      const protocol = protocols[val.concat[2]]
      if (!client.ok || !address.ok || !protocol) return []
      return [
        {
          client: client.value,
          address: address.value,
          protocol,
          port: val.concat[3],
          count: counter?.packets ?? 0,
          lastSeenMsAgo: Math.max(0, (set.timeout - expires) * 1000),
        },
      ]
    })
  })
}

/** The JSON of `nft -nn -j list counters` → per service; counters are named `SERVICE-forwarded` and `SERVICE-served`. */
export function parseOpened(json: string): Map<string, OpenedCount> {
  const opened = new Map<string, OpenedCount>()
  for (const { counter } of listed.parse(JSON.parse(json)).nftables) {
    const match = /^_?(.+)-(forwarded|served)$/.exec(counter?.name ?? '')
    if (!counter || !match) continue
    const service = match[1] as string
    const known = opened.get(service) ?? { forwarded: 0, served: 0 }
    known[match[2] as keyof OpenedCount] = counter.packets
    opened.set(service, known)
  }
  return opened
}

/** Null where it isn't there. Numbers rather than names (-nn): those depend on /etc/protocols and /etc/services. */
async function list(...what: string[]): Promise<string | null> {
  try {
    return await runTool('nft', ['-nn', '-j', 'list', ...what])
  } catch (error) {
    if (error instanceof ToolFailed && error.stderr.includes('No such file or directory')) return null
    throw new FleetmoveError('kernel', {
      message: `can't list ${what.join(' ')}: ${(error as Error).message}`,
      hint: 'check on the host that `nft list ruleset` works',
      cause: error,
    })
  }
}
