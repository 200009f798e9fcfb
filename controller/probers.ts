/** From where probes are sent: this machine, and every vantage's agent. */
import type { Ip } from '../proto/model/address.js'
import type { ProbeResult, ProbeSpec } from '../proto/model/probe.js'
import { type Connected, sendProbe, startProbe } from '../proto/send-probe.js'
import type { World } from './world.js'

export interface Prober {
  name: string
  send(spec: ProbeSpec): Promise<ProbeResult>
  /** Opens a connection that stands until it is closed or its `holdMs` are over. */
  hold(spec: ProbeSpec): HeldConnection
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
    return [{ name, send, hold }]
  })
  return [{ name: 'this machine', send: sendProbe, hold: startProbe }, ...remote]
}
