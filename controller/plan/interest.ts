/** Which services an operator looks for first. Pure. */
import type { Stage } from '../../proto/model/host-spec.js'

export interface Interesting {
  stage: Stage
  lastProof: { ok: boolean } | null
  byOld: number | null
}

/** What is under way, what is wrong, what is still waited for; then what rests. */
function rank({ stage, lastProof, byOld }: Interesting): number {
  if (stage === 'moving') return 0
  if (lastProof?.ok === false && stage !== 'finalized') return 1
  if (stage === 'moved') return (byOld ?? 0) > 0 ? 2 : 3
  return { forwarding: 4, planned: 5, finalized: 6 }[stage]
}

/** Of equals the ones with more clients by the old address first, else in the order given. */
export const mostInterestingFirst = <T extends Interesting>(services: readonly T[]): T[] =>
  [...services].sort((a, b) => rank(a) - rank(b) || (b.byOld ?? 0) - (a.byOld ?? 0))
