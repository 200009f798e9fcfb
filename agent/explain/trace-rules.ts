/**
 * The rules that make the kernel tell of one client's packets (nft(8), "meta nftrace"): of those that open
 * a connection, their answers and refusals, for TCP; of the first few, for UDP.
 */
import { familyOf, type Ip } from '../../proto/model/address.js'
import type { Protocol } from '../../proto/model/host-spec.js'

/** Not the table of the ruleset, which is compared with what should stand. */
export const traceTable = 'fleetmove-trace'

export interface TraceQuery {
  client: Ip
  /** 0: any. */
  clientPort: number
  protocol: Protocol
  /** The service's, before and after translation. */
  ports: readonly number[]
}

/** Ahead of everything, also of raw (-300) and defragmentation (-400). */
const tracePriority = -450

/** Behind everything: a packet that is seen there has passed all rules of its hook. */
const lastPriority = 450
const hooks = ['prerouting', 'input', 'forward', 'output', 'postrouting'] as const

/** A client that talks all the time must not fill the socket by which the kernel tells. */
const pace = 'limit rate 20/second burst 20 packets'

export function traceRuleset({ client, clientPort, protocol, ports }: TraceQuery): string {
  const ip = familyOf(client) === 4 ? 'ip' : 'ip6'
  const listeners = `{ ${[...new Set(ports)].join(', ')} }`
  const opening = protocol === 'tcp' ? 'tcp flags & (syn | rst) != 0 ' : ''
  const match = (address: 'saddr' | 'daddr', own: 'sport' | 'dport', peer: 'sport' | 'dport'): string => {
    const exactly = clientPort === 0 ? '' : `${protocol} ${own} ${clientPort} `
    return `${ip} ${address} ${client} ${exactly}${protocol} ${peer} ${listeners} ${opening}${pace} meta nftrace set 1`
  }
  const rules = `    ${match('saddr', 'sport', 'dport')}\n    ${match('daddr', 'dport', 'sport')}`
  const chain = (name: string, hook: string, priority: number, text = ''): string =>
    `  chain ${name} {\n    type filter hook ${hook} priority ${priority}; policy accept;\n${text}  }\n`
  const first = ['prerouting', 'output'].map((hook) => chain(hook, hook, tracePriority, `${rules}\n`))
  const last = hooks.map((hook) => chain(`after-${hook}`, hook, lastPriority))
  return `${removeTrace}table inet ${traceTable} {\n${first.join('')}${last.join('')}}\n`
}

/** Also where there is none. */
export const removeTrace = `table inet ${traceTable}\ndelete table inet ${traceTable}\n`
