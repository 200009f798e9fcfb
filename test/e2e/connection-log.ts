/** What hosts have written into their connection logs. */
import type { Practice } from './practice.js'

export interface LoggedConnection {
  start: string | null
  end: string
  service: string
  protocol: 'tcp' | 'udp'
  client: string
  clientPort: number
  address: string
  port: number
  forwarded: boolean
  received: number | null
  sent: number | null
}

export interface ConnectionLog {
  connections: LoggedConnection[]
  /** How often it was begun. */
  begun: number
  /** Of each `leftOut`. */
  leftOut: number[]
  text: string
}

/** Every line is JSON, and nothing but one of the three kinds. */
export async function readConnectionLog(practice: Practice, host: string): Promise<ConnectionLog> {
  // A listing makes the kernel forget at once what it will have forgotten within a minute.
  const text = await practice.shell(
    host,
    'conntrack -L >/dev/null 2>&1; cd /var/lib/fleetmove && cat connections.jsonl.1 connections.jsonl 2>/dev/null; true',
  )
  const log: ConnectionLog = { connections: [], begun: 0, leftOut: [], text }
  // The last line may be half written.
  for (const line of text.split('\n').slice(0, -1)) {
    const entry = JSON.parse(line) as LoggedConnection & { begins?: boolean; leftOut?: number }
    if (entry.begins) log.begun += 1
    else if (entry.leftOut !== undefined) log.leftOut.push(entry.leftOut)
    else log.connections.push(entry)
  }
  return log
}

/** One client's end of one connection; with its beginning, since a port is used again. */
export const identity = ({ protocol, client, clientPort, address, port, start }: LoggedConnection): string =>
  [protocol, client, clientPort, address, port, start].join(' ')

/** What was logged more than once. */
export function repeated(connections: readonly LoggedConnection[]): string[] {
  const seen = new Set<string>()
  return connections.map(identity).filter((each) => seen.size === seen.add(each).size)
}
