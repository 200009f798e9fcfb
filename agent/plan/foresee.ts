/** Several changes planned one after the other, each as if those before it stood. Pure. */
import type { HostSpec } from '../../proto/model/host-spec.js'
import type { Observed } from '../kernel/observed.js'
import type { Step } from '../kernel/step.js'
import { afterwards } from './afterwards.js'
import { derive } from './derive.js'
import { difference, type Found } from './difference.js'
import { readdressed } from './readdressed.js'

export interface Foreseen {
  steps: Step[]
  /** The whole table as it will be; '' for none. */
  ruleset: string
  /** What processes of ours are started with. */
  files: { path: string; content: string }[]
}

/** @param standing what the kernel matches already, as far as that is known */
export function foresee(
  observed: Observed,
  found: Found,
  specs: readonly HostSpec[],
  standing: HostSpec | null = null,
): Foreseen[] {
  let before = standing
  let present = observed
  let kept = found
  return specs.map((spec) => {
    const desired = derive(spec, present, kept)
    const { steps, found: keep } = difference(desired, present, kept)
    steps.push(...readdressed(before, spec, steps))
    before = spec
    present = afterwards(desired, present, steps)
    kept = keep
    const files = steps.flatMap((step) =>
      step.do === 'start-process' && step.process.config ? [step.process.config] : [],
    )
    return { steps, ruleset: desired.ruleset?.text ?? '', files }
  })
}
