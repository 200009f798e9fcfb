/** Changes that concern services alone can be planned by what was seen last: their text replaces whatever stands. */
import { isDeepStrictEqual } from 'node:util'
import type { HostSpec } from '../proto/model/host-spec.js'
import type { Observed } from './kernel/observed.js'
import type { StepOf } from './kernel/step.js'
import { tableAfter } from './plan/afterwards.js'
import { derive } from './plan/derive.js'
import { difference, type Found } from './plan/difference.js'
import { readdressed } from './plan/readdressed.js'

/** The host when all stood as it was wanted, and what the ledger remembered then. */
export interface Seen {
  observed: Observed
  found: Found
}

/** A change that is made while nobody has the time to look. */
export interface KnownChange {
  step: StepOf<'load-ruleset'> | StepOf<'change-elements'>
  /** How the host must look afterwards. */
  after: Observed
}

/** Such a change; null for every other one, and for none. */
export function servicesOnly(before: HostSpec | null, spec: HostSpec, { observed, found }: Seen): KnownChange | null {
  const desired = derive(spec, observed, found)
  const { steps, found: kept } = difference(desired, observed, found)
  const [step] = steps
  if (steps.length !== 1 || !desired.ruleset || !isDeepStrictEqual(kept, found)) return null
  if (step?.do !== 'change-elements' && (step?.do !== 'load-ruleset' || step.hooks)) return null
  if (readdressed(before, spec, steps).length > 0) return null
  return { step, after: { ...observed, table: tableAfter(desired.ruleset) } }
}
