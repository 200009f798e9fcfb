import { InvalidArgumentError } from 'commander'
import type { Stage } from '../proto/model/host-spec.js'

const stages: readonly Stage[] = ['planned', 'forwarding', 'moving', 'moved', 'finalized']

/** `moving,moved` */
export function stageList(text: string): Stage[] {
  return text.split(',').map((each) => {
    const stage = stages.find((known) => known === each)
    if (stage) return stage
    throw new InvalidArgumentError(`One or more of ${stages.join(', ')} are needed, with commas`)
  })
}
