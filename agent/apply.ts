/** Observe, plan, perform, and plan again: an apply whose second plan isn't empty has failed. */
import { FleetmoveError } from '../proto/model/error.js'
import type { HostSpec } from '../proto/model/host-spec.js'
import { describeStep } from './kernel/describe-step.js'
import type { Kernel } from './kernel/kernel.js'
import type { Observed } from './kernel/observed.js'
import type { Step } from './kernel/step.js'
import { derive } from './plan/derive.js'
import type { Desired } from './plan/desired.js'
import { difference, type Found, stillFound } from './plan/difference.js'
import { readdressed } from './plan/readdressed.js'
import { sysctlKeys } from './plan/sysctls.js'
import type { Seen } from './services-only.js'

/** The spec of a host on which nothing of ours should stand; addresses that have moved for good stay. */
export const nothing = (spec: HostSpec | null): HostSpec => ({
  fleet: spec?.fleet ?? ('none' as HostSpec['fleet']),
  host: spec?.host ?? ('none' as HostSpec['host']),
  generation: spec?.generation ?? 0,
  tunnels: [],
  services: [],
  ...settledOf(spec),
})

function settledOf(spec: HostSpec | null): Pick<HostSpec, 'addresses'> {
  const addresses = spec?.addresses?.filter(({ as }) => as === 'settled') ?? []
  return addresses.length > 0 ? { addresses } : {}
}

export interface Plan {
  observed: Observed
  steps: Step[]
  desired: Desired
  found: Found
}

/** @param measured UDP ports on which the path to a peer is being measured */
export async function plan(
  kernel: Kernel,
  spec: HostSpec,
  found: Found,
  measured: readonly number[] = [],
): Promise<Plan> {
  const observed = await observeAll(kernel)
  const desired = derive(spec, observed, found, measured)
  return { observed, desired, ...difference(desired, observed, found) }
}

export const observeAll = (kernel: Kernel): Promise<Observed> => kernel.observe((links) => sysctlKeys({ links }))

/**
 * Makes the kernel match the spec.
 * @param keep called with what must be on disk before the kernel changes, and again when it's over.
 * @param before what it matched until now, as far as that is known
 * @returns the steps taken, empty when there was nothing to do; and how all stood then.
 * @throws FleetmoveError of the step that failed, or 'not-converged'. What was done until then stands.
 */
export async function converge(
  kernel: Kernel,
  spec: HostSpec,
  found: Found,
  keep: (found: Found) => Promise<void>,
  before: HostSpec | null = null,
): Promise<{ steps: Step[]; seen: Seen }> {
  const first = await plan(kernel, spec, found)
  first.steps.push(...readdressed(before, spec, first.steps))
  let { observed } = first
  if (first.steps.length > 0) {
    await keep(first.found)
    for (const step of first.steps) await kernel.perform(step)
    const second = await plan(kernel, spec, first.found)
    observed = second.observed
    if (second.steps.length > 0) {
      throw new FleetmoveError('not-converged', {
        message: `after all steps these remain: ${second.steps.map(describeStep).join('; ')}`,
        hint: 'something else on this host changes the same things: look for a network manager or a second fleetmove',
      })
    }
  }
  const kept = stillFound(first.found, first.desired)
  await keep(kept)
  return { steps: first.steps, seen: { observed, found: kept } }
}
