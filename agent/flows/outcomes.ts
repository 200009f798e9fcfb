import type { ServiceSpec } from '../../proto/model/host-spec.js'
import type { Conntrack } from '../kernel/conntrack.js'
import { routeOf, wayOf } from './service-flows.js'

export interface Outcomes {
  /** Established now, or ended in order (TIME_WAIT is remembered for 120 s, the closing states for 30 to 120 s). */
  good: number
  /** In state CLOSE, which is remembered for 10 s: a reset, refusals among them. */
  reset: number
  /** A SYN without an answer yet. */
  unanswered: number
}

/**
 * How the service's TCP connections went that are answered on this host, directly or out of a tunnel, by
 * what connection tracking still remembers (kernel doc: nf_conntrack-sysctl, the timeouts). One walk.
 */
export async function outcomes(conntrack: Conntrack, service: ServiceSpec): Promise<Outcomes> {
  const counted: Outcomes = { good: 0, reset: 0, unanswered: 0 }
  await conntrack.walk({ protocol: 'tcp' }, (entry) => {
    if (wayOf(entry.mark).way === 'into' || !routeOf(service, entry)) return
    if (entry.tcpState === 'close') counted.reset++
    else if (entry.tcpState === 'syn-sent' || entry.tcpState === 'syn-received') counted.unanswered++
    else counted.good++
  })
  return counted
}
