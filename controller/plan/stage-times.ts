/** When each service was in which stage. Pure. */
import type { Stage } from '../../proto/model/host-spec.js'

export interface StageTime {
  stage: Stage
  /** Milliseconds since 1970. */
  from: number
  /** null: it is so still. */
  to: number | null
}

/** @param events of one service, the oldest first; before the first one it was planned, which isn't told */
export function stageTimes(events: readonly { at: number; stage: Stage }[]): StageTime[] {
  const times: StageTime[] = []
  for (const { at, stage } of events) {
    const last = times.at(-1)
    // The same stage again is a command that had nothing to do.
    if (last?.stage === stage) continue
    if (last) last.to = at
    times.push({ stage, from: at, to: null })
  }
  return times
}
