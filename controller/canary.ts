/** A growing share of clients to the new host, and back at once when they fare worse there. */
import { setTimeout as delay } from 'node:timers/promises'
import { FleetmoveError } from '../proto/model/error.js'
import { change } from './change.js'
import type { Service } from './config/fleet.js'
import { awaitHealth } from './lifecycle.js'
import { canaryProblem, canarySeed } from './plan/canary-verdict.js'
import { timed } from './progress.js'
import { purgeUdp } from './udp.js'
import { agentOf, type World } from './world.js'

export interface CanaryPlan {
  /** In percent of clients, rising. A last step of 100 is the switch itself, and no canary. */
  steps: readonly number[]
  /** How long each step is watched, in ms. */
  bakeMs: number
  /** Clients that go first, whatever the share: canonical prefixes. */
  only: readonly string[]
}

const watchMs = 1000
/** Clients are there already: a new host that falls ill must not keep them long. */
const healthyWithinMs = 3000

/**
 * Goes through the steps below 100; afterwards the switch is still to be made. The process runs on both
 * hosts meanwhile.
 * @throws FleetmoveError 'health' when the new host does worse; the caller gives up the move.
 */
export async function canary(world: World, service: Service, plan: CanaryPlan): Promise<void> {
  const steps = plan.steps.filter((step) => step < 100)
  if (plan.only.length > 0) steps.unshift(0)
  for (const step of steps) {
    const state = {
      stage: 'moving' as const,
      active: service.from,
      canary: { perMille: Math.round(step * 10), seed: canarySeed(service.name), prefixes: [...plan.only] },
    }
    const who = [...(plan.only.length > 0 ? plan.only : []), ...(step > 0 ? [`${step} % of clients`] : [])].join(
      ' and ',
    )
    await timed(world.progress, service.name, `canary: ${who} to ${service.to}`, async () => {
      await change(world, { states: new Map([[service.name, state]]) })
      await purgeUdp(world, service)
      await bake(world, service, plan.bakeMs)
    })
  }
}

async function bake(world: World, service: Service, ms: number): Promise<void> {
  const deadline = Date.now() + ms
  for (;;) {
    await delay(Math.max(0, Math.min(watchMs, deadline - Date.now())))
    await awaitHealth(world, service, service.to, { quiet: true, withinMs: healthyWithinMs })
    const [onNew, onOld] = await Promise.all([
      agentOf(world, service.to).outcomes(service.name),
      agentOf(world, service.from).outcomes(service.name),
    ])
    const problem = canaryProblem(onNew, onOld)
    if (problem !== null) {
      throw new FleetmoveError('health', {
        message: `the canary does worse: ${problem}`,
        hint: `look at the service's log on ${service.to}, and run advance again`,
        host: service.to,
      })
    }
    if (Date.now() >= deadline) return
  }
}
