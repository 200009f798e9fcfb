/** wrk, from the practice network's first client. */
import { join } from 'node:path'
import type { PracticeNetwork } from './practice-network.js'

export interface Asked {
  seconds: number
  requests: number
  bytes: number
  errors: number
  /** Of a request, in milliseconds. */
  p50: number
  p99: number
}

/** Asks for two seconds as fast as it's answered. @throws when nothing came through */
export async function wrk(
  network: PracticeNetwork,
  connections: number,
  url: string,
  more: readonly string[] = [],
): Promise<Asked> {
  const script = join(process.cwd(), 'test/bench/wrk.lua')
  const command = `wrk -t1 -c${connections} -d2s ${more.join(' ')} -s ${script} ${url} | tail -1`
  const seen = JSON.parse(await network.shell('client1', command)) as Asked
  if (seen.bytes === 0) throw new Error(`nothing came from ${url}: ${JSON.stringify(seen)}`)
  return seen
}

/** Options that make every request a new connection. */
export const closing = ["-H 'Connection: close'"]
