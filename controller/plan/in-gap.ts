/** Moves that are between their stop and their start, from what both hosts know of them. Pure. */
import type { Name } from '../../proto/model/names.js'
import type { Service } from '../config/fleet.js'
import type { ServiceState } from './host-specs.js'

/** What one host knows (fleetmove.proto, OpenGap). */
export interface GapPart {
  host: Name
  role: string
  phase: string
  letGo: boolean
}

/** Whether the service is the target's; a host without its part has ended it, and then the other one knows how. */
export function hasMoved(parts: readonly Pick<GapPart, 'role' | 'phase'>[]): boolean {
  const target = parts.find(({ role }) => role === 'target')
  return target ? target.phase === 'started' : parts.some(({ phase }) => phase === 'gone')
}

/** @param state as it is confirmed, which in a gap is how it was before. @param parts of both its hosts */
export function stateInGap({ from, to }: Service, state: ServiceState, parts: readonly GapPart[]): ServiceState {
  const begun = parts.filter(({ phase }) => phase !== 'open')
  if (begun.some(({ letGo }) => !letGo)) return { ...state, paused: true }
  const [known] = begun
  if (!known) return state
  const other = known.host === from ? to : from
  return { ...state, active: hasMoved(begun) === (known.role === 'target') ? known.host : other }
}
