/** Why a client may still come by the old address: guesses, and named as such. */

export type StragglerCause =
  /** What it has in its cache may still be valid. */
  | 'cached'
  | 'mail-exchanger'
  | 'monitor'
  /** It knows the address by heart: a configuration, a firewall's rule, a hosts file. */
  | 'literal-address'
  | 'ttl-ignored'
  /** The record isn't known to have changed. */
  | 'unknown'

export interface StragglerFacts {
  /** Of the client's address (PTR), in lower case. */
  readonly names: readonly string[]
  /** The port it came to. */
  readonly port: number
  readonly lastSeenMs: number
  /** When the last answer that obeys its time to live is gone; null: unknown. */
  readonly cachesGoneMs: number | null
}

const mailWord = /(^|[.-])(mx|mail|smtp|mta|relay|out|outbound|mailout|postfix|exim)\d*([.-]|$)/
const monitorWord =
  /(^|[.-])(monitor(ing)?|uptime|uptimerobot|pingdom|statuscake|nagios|icinga|zabbix|prometheus|blackbox|probe|check|healthcheck|site24x7|newrelic|datadog)\d*([.-]|$)/
/** Resolvers that stretch the time to live do so by hours; who comes a day later doesn't ask any more. */
const dayMs = 86_400_000
const smtp = 25

export function likelyCause({ names, port, lastSeenMs, cachesGoneMs }: StragglerFacts): StragglerCause {
  if (cachesGoneMs !== null && lastSeenMs <= cachesGoneMs) return 'cached'
  if (names.some((name) => monitorWord.test(name))) return 'monitor'
  if (port === smtp && names.some((name) => mailWord.test(name))) return 'mail-exchanger'
  if (cachesGoneMs === null) return 'unknown'
  return lastSeenMs > cachesGoneMs + dayMs ? 'literal-address' : 'ttl-ignored'
}
