/**
 * `agent plan`: the steps that agents would take on hosts that have none yet. It runs on the operator's
 * machine, needs no root, reads nothing but standard input and changes nothing: the program that `up`
 * is going to send tells itself what it would do there (docs/decisions).
 */
import { text } from 'node:stream/consumers'
import { decodeHostSpec } from '../proto/codec.js'
import type * as wire from '../proto/gen/fleetmove.js'
import type { OfflineHost, OfflinePlan } from '../proto/model/offline-plan.js'
import { describeStep } from './kernel/describe-step.js'
import { observedFromFacts } from './plan/facts-observed.js'
import { foresee } from './plan/foresee.js'

/** `OfflineHost<wire.HostSpec>[]` on stdin, an `OfflinePlan[]` for each of them on stdout, as JSON. */
export async function planOffline(): Promise<number> {
  const hosts = JSON.parse(await text(process.stdin)) as OfflineHost<wire.HostSpec>[]
  const plans = hosts.map(({ facts, specs }) =>
    foresee(observedFromFacts(facts), {}, specs.map(decodeHostSpec)).map(
      ({ steps, ruleset, files }): OfflinePlan => ({ steps: steps.map(describeStep), ruleset, files }),
    ),
  )
  await new Promise((done) => process.stdout.write(JSON.stringify(plans), done))
  return 0
}
