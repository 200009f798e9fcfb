/** From where probes are sent: this machine, and every vantage's agent. */
import type { Ip } from '../proto/model/address.js'
import type { ProbeResult, ProbeSpec } from '../proto/model/probe.js'
import type { RelayOutcome, RelaySpec } from '../proto/model/relay.js'
import { type RunningRelayTest, startRelayTest } from '../proto/relay-test.js'
import { type Connected, sendProbe, startProbe } from '../proto/send-probe.js'
import type { World } from './world.js'

export interface Prober {
  name: string
  send(spec: ProbeSpec): Promise<ProbeResult>
  /** Opens a connection that stands until it is closed or its `holdMs` are over. */
  hold(spec: ProbeSpec): HeldConnection
  /** Asks a mail server whether it relays; the connection stands afterwards, as `hold`'s. */
  relay(spec: RelaySpec): RunningRelayTest
}

export interface HeldConnection {
  /** Null where no connection came about. */
  connected: Promise<Connected | null>
  result: Promise<ProbeResult>
  close(): void
}

export function probersOf(world: World): Prober[] {
  const remote = [...world.vantages.keys()].flatMap((name): Prober[] => {
    const agent = world.agents.get(name)
    if (!agent) return []
    const send = async (spec: ProbeSpec): Promise<ProbeResult> => {
      const reply = await agent.probe({ ...spec, token: Buffer.from(spec.token) })
      return { ...reply, outcome: reply.outcome as ProbeResult['outcome'], source: reply.source as Ip | '' }
    }
    const hold = (spec: ProbeSpec): HeldConnection => {
      // The agent answers when the connection stands, and ends it by itself.
      const result = send(spec)
      const connected = result.then(({ outcome, source, sourcePort, connectMs }) =>
        outcome === 'answered' ? { source, sourcePort, connectMs } : null,
      )
      return { connected, result, close: () => {} }
    }
    const relay = (spec: RelaySpec): RunningRelayTest => ({
      result: agent
        .relay(spec)
        .then((reply) => ({ ...reply, outcome: reply.outcome as RelayOutcome, source: reply.source as Ip | '' })),
      close: () => {},
    })
    return [{ name, send, hold, relay }]
  })
  return [{ name: 'this machine', send: sendProbe, hold: startProbe, relay: startRelayTest }, ...remote]
}
