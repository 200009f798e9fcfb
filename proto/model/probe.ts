/** Probes and what is known of them afterwards: what was sent, what came back, what the origin saw. */
import type { Ip } from './address.js'
import type { Protocol } from './host-spec.js'

/** The largest request and answer, in bytes: several packets on every path, and bearable for a stranger's port. */
export const largestProbe = 8192

export interface ProbeSpec {
  protocol: Protocol
  address: Ip
  port: number
  /** 16 bytes, by which the receipt is found. */
  token: Uint8Array
  /** Bytes to send, and bytes to be answered with; raised to the smallest probe, cut to `largestProbe`. */
  bytes: number
  timeoutMs: number
  /** Only connect and hold: for a real listener, which knows no tokens. */
  connectOnly: boolean
  /** How long a connection that was only opened is held, in ms. */
  holdMs: number
}

/**
 * - `answered`: the whole answer came (with `connectOnly`: the connection stood until it was closed here)
 * - `refused`: a reset or an ICMP error instead of a connection
 * - `timeout`: nothing came in time
 * - `truncated`: small packets passed, large ones did not
 * - `closed`: the other side ended the connection before it had answered
 * - `error`: this machine could not send
 */
export const probeOutcomes = ['answered', 'refused', 'timeout', 'truncated', 'closed', 'error'] as const
export type ProbeOutcome = (typeof probeOutcomes)[number]

export interface ProbeResult {
  outcome: ProbeOutcome
  /** This end of the flow as the prober's machine sees it; '' and 0 where there was none. */
  source: Ip | ''
  sourcePort: number
  /** Of the answer. */
  bytes: number
  /** Until the connection stood, or for UDP until the answer came; 0 where neither happened. */
  connectMs: number
  /** A sentence without a full stop: what exactly happened. */
  detail: string
}

/** What the origin's agent saw of one probe. Of UDP every try is a receipt. */
export interface Receipt {
  token: Uint8Array
  protocol: Protocol
  source: Ip
  sourcePort: number
  destination: Ip
  destinationPort: number
  /** Received by then; less than what was sent where the rest got lost. */
  bytes: number
  /** Milliseconds since 1970, by the origin's clock. */
  timeMs: number
}

/** A client's connection that is looked for on the host that answers it. */
export interface FlowQuery {
  protocol: Protocol
  /** The host's own address and port that the connection's first packet was for. */
  address: Ip
  port: number
  client: Ip
  /** 0: any. */
  clientPort: number
  /** How long it is waited for. */
  timeoutMs: number
}

/** How a connection shows on the host that answers it. */
export interface FlowEvidence {
  found: boolean
  /** A socket of this host, or only an entry in connection tracking (a container answers); '' where nothing was found. */
  evidence: 'socket' | 'conntrack' | ''
  /** The tunnel that its first packet came out of; 0: none. */
  tunnel: number
  /** A sentence without a full stop. */
  detail: string
}
