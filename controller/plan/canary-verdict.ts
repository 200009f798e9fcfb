/** Does the new host do as well as the old one by the clients that it was given? Pure. */

export interface Outcomes {
  /** Connections that stand or ended in order. */
  good: number
  /** Ended by a reset, refusals among them. */
  reset: number
  unanswered: number
}

/** Over fewer connections than this a share says nothing. */
const leastConnections = 20
/** The new host may fail by this much more than the old one, as a share of its connections. */
const tolerance = 0.05

/** @returns why the canary must be taken back, or null while it may go on. */
export function canaryProblem(onNew: Outcomes, onOld: Outcomes): string | null {
  const [there, here] = [share(onNew), share(onOld)]
  if (total(onNew) < leastConnections || there <= here + tolerance) return null
  return `${percent(there)} of ${total(onNew)} connections on the new host were reset or not answered, on the old one ${percent(here)} of ${total(onOld)}`
}

const total = ({ good, reset, unanswered }: Outcomes): number => good + reset + unanswered
const share = (outcomes: Outcomes): number =>
  total(outcomes) === 0 ? 0 : (outcomes.reset + outcomes.unanswered) / total(outcomes)
const percent = (part: number): string => `${(part * 100).toFixed(1)} %`

/** Steps such as `5,25,100` in percent: rising, each above 0 and at most 100. Null when they aren't. */
export function parseSteps(text: string): number[] | null {
  const parts = text.split(',')
  if (!parts.every((part) => /^\d{1,3}(\.\d)?$/.test(part.trim()))) return null
  const steps = parts.map(Number)
  const rising = steps.every((step, i) => step > (steps[i - 1] ?? 0) && step <= 100)
  return rising ? steps : null
}

/** 32 bits of a service's name: the same clients first on both its hosts, others for another service. */
export function canarySeed(service: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < service.length; i++) hash = Math.imul(hash ^ service.charCodeAt(i), 0x01000193)
  return hash >>> 0
}
