/** Moves whose run was lost in the gap: what the hosts would do when the time is over, this run has them do at once. */
import type * as wire from '../proto/gen/fleetmove.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import type { Agent } from './agents/agent.js'
import type { Fleet } from './config/fleet.js'
import { hasMoved } from './plan/in-gap.js'
import { type Progress, timed } from './progress.js'

/** For a stop, a start and its health, each as long as it may take (controller/lifecycle.ts). */
const takeMs = 270_000

/** What one host knows of a gap. */
interface Part {
  agent: Agent
  gap: wire.OpenGap
}

/**
 * Each service runs on exactly one host afterwards, and nothing of its gap is left. Gaps of which an agent is absent
 * stay as they are.
 * @returns whether there were any.
 * @throws FleetmoveError 'health' when a service doesn't come up where it belongs.
 */
export async function settleGaps(
  world: { fleet: Fleet; progress: Progress; agents: ReadonlyMap<Name, Agent> },
  found: ReadonlyMap<Name, readonly wire.OpenGap[]>,
): Promise<boolean> {
  const parts = [...found].flatMap(([host, gaps]) => gaps.map((gap): Part => ({ agent: world.agents.get(host)!, gap })))
  const ids = [...new Set(parts.map(({ gap }) => gap.id))]
  let settled = false
  for (const id of ids) {
    const own = parts.filter(({ gap }) => gap.id === id)
    const service = world.fleet.services.get(own[0]!.gap.service as Name)
    if (!service || [service.from, service.to].some((host) => !world.agents.has(host))) continue
    await timed(
      world.progress,
      service.name,
      'settle a move whose run was lost',
      () => settle(own),
      (where) => where,
    )
    settled = true
  }
  return settled
}

async function settle(parts: readonly Part[]): Promise<string> {
  const [target, origin] = ['target', 'origin'].map((role) => parts.find(({ gap }) => gap.role === role))
  const ask = (
    { agent, gap: { service, id } }: Part,
    action: string,
    also: Partial<wire.GapRequest> = {},
  ): Promise<wire.GapReply> => agent.gap({ service: service as Name, id, action, ...also }, takeMs)
  const moved = hasMoved(parts.map(({ gap }) => gap))
  if (target && !moved) await ask(target, 'yield')
  const holder = moved ? target : origin
  if (holder && !holder.gap.letGo) {
    const { ok, ended, output } = await ask(holder, 'take')
    if (!ok)
      throw new FleetmoveError('health', {
        message: `${holder.gap.service} does not come up again (${ended}): ${output.trim()}`,
        hint: `mend it on ${holder.agent.host}, then run the command again; until then new clients are dropped, not refused`,
        host: holder.agent.host,
      })
  }
  for (const part of new Set([holder, target, origin])) if (part) await ask(part, 'let-go', { flag: moved })
  const outcome = moved ? 'target' : 'origin'
  if (origin) await ask(origin, 'close', { outcome })
  // The origin may have told it.
  if (target)
    await ask(target, 'close', { outcome }).catch((error: unknown) => {
      if (!origin || !(error instanceof FleetmoveError && error.code === 'stale')) throw error
    })
  return `it runs on ${(holder ?? target ?? origin)!.agent.host}`
}
