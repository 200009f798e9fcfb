/** The open relay test: whether a mail server takes mail for others from whoever asks. */
import type { Ip } from './address.js'

/** tcp ports at which mail servers listen: 25 and 587 (RFC 5321, 6409), 465 with TLS from the beginning (RFC 8314). */
export const mailPorts: readonly number[] = [25, 465, 587]
export const isMailPort = (port: number): boolean => mailPorts.includes(port)
/** TLS from the beginning. */
export const tlsMailPort = 465

export interface RelaySpec {
  address: Ip
  /** One of `mailPorts`. */
  port: number
  /** For the whole dialogue. */
  timeoutMs: number
  /** How long the connection is kept after the answer, so that it can be looked at. */
  holdMs: number
}

/**
 * - `refused`: the server doesn't take mail from here for a stranger's domain
 * - `accepted`: it would: an open relay, for this client
 * - `unclear`: it said neither in time (detail tells)
 */
export const relayOutcomes = ['refused', 'accepted', 'unclear'] as const
export type RelayOutcome = (typeof relayOutcomes)[number]

export interface RelayResult {
  outcome: RelayOutcome
  /** This end as the prober's machine sees it; '' and 0 where no connection stood. */
  source: Ip | ''
  sourcePort: number
  /** A sentence without a full stop, with the server's own words. */
  detail: string
}
