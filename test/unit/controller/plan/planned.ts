/** Parts of plans for tests. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseFacts } from '../../../../controller/bootstrap/parse-facts.js'
import type { Service } from '../../../../controller/config/fleet.js'
import type { Availability, HostFacts } from '../../../../proto/model/facts.js'
import { name } from '../../agent/plan/specs.js'

export const exampleService = (change: Partial<Service> = {}): Service =>
  ({
    name: name('web'),
    from: name('old'),
    to: name('new'),
    listen: [
      { protocol: 'tcp', ports: { from: 443, to: 443 }, oldPort: undefined, newPort: undefined, helper: undefined },
    ],
    strategy: 'rolling',
    holdMs: 30_000,
    drainMs: 60_000,
    drainThen: 'leave',
    lifecycle: { kind: 'unit', unit: 'nginx.service' },
    data: [],
    ...change,
  }) as Service

/** Those of a recorded host, with a kernel that can queue packets or not. */
export function factsOf({ nftQueue, xtablesQueue }: { nftQueue: Availability; xtablesQueue: Availability }): HostFacts {
  const facts = parseFacts(readFileSync(join(__dirname, '../bootstrap/facts/debian-12-root.txt'), 'utf8'))!
  return {
    ...facts,
    queue: { nft: { available: nftQueue, reason: '' }, xtables: { available: xtablesQueue, reason: '' } },
  }
}
