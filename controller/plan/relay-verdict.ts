/** What an open relay test proves, by the forwarder's address and straight: pure. */
import type { RelayResult } from '../../proto/model/relay.js'
import type { Verdict } from './verdict.js'

export interface RelayVerdictInput {
  /** By the forwarder's address. */
  forwarded: RelayResult
  /** By the origin's own; asked only where the other one was accepted. */
  straight: RelayResult | null
  /** Of the connection that was asked by: whether the origin saw the client's own address. */
  flow: Verdict | Untested
  forwarder: string
  origin: string
}

/** Nothing is said of the hosts. */
export interface Untested {
  kind: 'untested'
  cause: string
}

/** Strangers may send mail through the server by the forwarder's address, and only by that. */
export interface OpenRelay {
  kind: 'open-relay'
  cause: string
}

export function relayVerdict(input: RelayVerdictInput): Verdict | Untested | OpenRelay {
  const { forwarded, straight, flow, forwarder, origin } = input
  if (forwarded.outcome === 'accepted') {
    if (straight?.outcome === 'accepted') {
      return {
        kind: 'untested',
        cause: `${origin}'s mail server relays for this prober straight as well as by ${forwarder}: it trusts the prober's address, or everybody's; try from a vantage that it has no reason to trust`,
      }
    }
    const instead =
      straight?.outcome === 'refused' ? 'straight it refuses that' : `straight it is unclear (${straight?.detail})`
    return {
      kind: 'open-relay',
      cause: `${forwarded.detail}, ${instead}: ${origin}'s mail server trusts the address that it sees by ${forwarder} (${flow.cause})`,
    }
  }
  if (forwarded.source === '' || forwarded.outcome === 'unclear') {
    return { kind: 'untested', cause: `whether it relays is not known: ${forwarded.detail}` }
  }
  return flow.kind === 'preserved' ? { kind: 'preserved', cause: `${forwarded.detail}; ${flow.cause}` } : flow
}
