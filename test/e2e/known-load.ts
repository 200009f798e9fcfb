/** A load of which everything is known beforehand: who connects from which port to what, and how many bytes pass. */
import { join } from 'node:path'
import type { Practice } from './practice.js'

export interface KnownConnection {
  kind: 'echo' | 'get'
  protocol: 'tcp' | 'udp'
  address: string
  port: number
  /** The client's port. */
  from: number
  /** TCP: bytes of the answer, and with `echo` of the question; UDP: of the datagram. */
  bytes: number
}

export interface Outcome {
  /** Milliseconds since 1970. */
  begun: number
  ended: number
  /** The client's own address. */
  client: string
  /** `echo`: the address and port that the server saw. */
  seen: string
  /** Bytes; with UDP datagrams. */
  sent: number
  heard: number
  error: string
}

/** See fixtures/known-connections.mjs. */
export async function makeConnections(
  practice: Practice,
  client: string,
  plans: readonly KnownConnection[],
): Promise<Outcome[]> {
  const program = join(__dirname, 'fixtures', 'known-connections.mjs')
  const { code, stdout, stderr } = await practice.lab.exec(client, ['node', program], {
    input: JSON.stringify(plans),
    timeoutMs: 120_000,
  })
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as Outcome[]
}

export interface Amounts {
  echoes: number
  gets: number
  flows: number
}

/**
 * So many connections to each of the addresses, of all sizes, each from another port.
 * @param firstPort of the client's
 */
export function planConnections(addresses: readonly string[], amounts: Amounts, firstPort: number): KnownConnection[] {
  const { echoes, gets, flows } = amounts
  const each = (count: number, plan: (i: number) => Omit<KnownConnection, 'address' | 'from'>) =>
    addresses.flatMap((address) => Array.from({ length: count }, (_, i) => ({ address, ...plan(i) })))
  const plans = [
    ...each(echoes, (i) => ({ kind: 'echo', protocol: 'tcp', port: 7001, bytes: 100 + 4001 * i })),
    ...each(gets, (i) => ({ kind: 'get', protocol: 'tcp', port: 80, bytes: 1000 + 20_011 * i })),
    ...each(flows, (i) => ({ kind: 'echo', protocol: 'udp', port: 7001, bytes: 20 + 97 * i })),
  ]
  return plans.map((plan, i) => ({ ...plan, from: firstPort + i }))
}
