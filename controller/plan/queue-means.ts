/** How a host could keep packets waiting that open a connection. Pure; the agent decides for itself by the same order. */
import type { HostFacts } from '../../proto/model/facts.js'

export type QueueMeans = 'nft-queue' | 'xtables-queue' | 'drop' | 'unknown'

export function queueMeans({ queue }: HostFacts): QueueMeans {
  if (queue.nft.available === 'yes') return 'nft-queue'
  if (queue.xtables.available === 'yes') return 'xtables-queue'
  return queue.nft.available === 'unknown' ? 'unknown' : 'drop'
}
