/** Changes that concern services alone can be planned by what was seen last: their text replaces whatever stands. */
import { isDeepStrictEqual } from 'node:util'
import type { HostSpec } from '../proto/model/host-spec.js'
import type { Observed } from './kernel/observed.js'
import type { StepOf } from './kernel/step.js'
import { derive } from './plan/derive.js'
import { difference, type Found } from './plan/difference.js'
import { readdressed } from './plan/readdressed.js'

/** The host when all stood as it was wanted, and what the ledger remembered then. */
export interface Seen {
  observed: Observed
  found: Found
}

/** The one step of such a change; null for every other change. */
export function servicesOnly(
  before: HostSpec | null,
  spec: HostSpec,
  { observed, found }: Seen,
): StepOf<'load-ruleset'> | null {
  const { steps, found: kept } = difference(derive(spec, observed, found), observed, found)
  const [step] = steps
  if (steps.length !== 1 || step?.do !== 'load-ruleset' || step.hooks) return null
  if (readdressed(before, spec, steps).length > 0) return null
  return isDeepStrictEqual(kept, found) ? step : null
}

/** How it must look behind such a step. */
export function afterLoad(observed: Observed, step: StepOf<'load-ruleset'>): Observed {
  const { fingerprint, chains, counters, rules, elements } = step
  return { ...observed, table: { fingerprint, chains, counters, rules, elements } }
}

/** Commands for nft and nothing else, as a step. */
export const commands = (text: string): StepOf<'load-ruleset'> => ({
  ...{ do: 'load-ruleset', text, hooks: false, fingerprint: '' },
  ...{ chains: [], counters: [], rules: {}, elements: {} },
})
