/** Several changes planned one after the other, each as if those before it stood. Pure. */
import type { HostSpec } from '../../proto/model/host-spec.js'
import type { Observed } from '../kernel/observed.js'
import type { Step } from '../kernel/step.js'
import { afterwards } from './afterwards.js'
import { derive } from './derive.js'
import { difference, type Found } from './difference.js'

export interface Foreseen {
  steps: Step[]
  /** The whole table as it will be; '' for none. */
  ruleset: string
  /** What processes of ours are started with. */
  files: { path: string; content: string }[]
}

export function foresee(observed: Observed, found: Found, specs: readonly HostSpec[]): Foreseen[] {
  let present = observed
  let kept = found
  return specs.map((spec) => {
    const desired = derive(spec, present, kept)
    const { steps, found: keep } = difference(desired, present, kept)
    present = afterwards(desired, present, steps)
    kept = keep
    const files = steps.flatMap((step) =>
      step.do === 'start-process' && step.process.config ? [step.process.config] : [],
    )
    return { steps, ruleset: desired.ruleset?.text ?? '', files }
  })
}
