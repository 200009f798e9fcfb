/** tcpdump on a host, for substrates that have no better way. */
import { createInterface } from 'node:readline'
import type { Substrate } from './substrate.js'

/** Notes packets from the moment that it resolves; `stop` gives one line a packet. At most 10,000 packets. */
export async function captureBy(
  substrate: Pick<Substrate, 'spawn'>,
  host: string,
  filter: string,
): Promise<{ stop(): Promise<string[]> }> {
  const child = substrate.spawn(host, ['tcpdump', '-n', '-l', '-c', '10000', ...filter.split(' ')])
  const lines: string[] = []
  createInterface({ input: child.stdout! }).on('line', (line) => lines.push(line))
  let said = ''
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', () => reject(new Error(`tcpdump on ${host}: ${said}`)))
    child.stderr!.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (said.includes('listening on')) resolve()
    })
  })
  return {
    stop: async () => {
      const closed = new Promise<void>((resolve) => child.once('close', () => resolve()))
      child.kill('SIGINT')
      await closed
      return lines
    },
  }
}
