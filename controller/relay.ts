/** The proof that a mail server behind a forward relays for nobody: asked from outside, it sees who asks. */
import type { Ip } from '../proto/model/address.js'
import type { FlowEvidence, ProbeResult } from '../proto/model/probe.js'
import type { RelayResult, RelaySpec } from '../proto/model/relay.js'
import { patient } from './patience.js'
import type { Path } from './plan/probe-paths.js'
import { type OpenRelay, relayVerdict, type Untested } from './plan/relay-verdict.js'
import type { Verdict } from './plan/verdict.js'
import type { Prober } from './probers.js'
import { agentOf, type World } from './world.js'

/** Servers that make strangers wait before the greeting do so for 6 s and more (Postfix' postscreen_greet_wait). */
const dialogueMs = 12_000
const holdMs = 3000

export interface RelayTest {
  prober: Prober
  path: Path
  /** As clients use it, and as it arrives through the tunnel. */
  port: number
  forwardedPort: number
  /** The prober's address as the origin sees it straight; undefined where that isn't known. */
  expected: Ip | undefined
  /** Judges the connection as any other to this listener. */
  judge: (reply: ProbeResult, flow: FlowEvidence) => Verdict | Untested
}

export async function proveNoRelay(world: World, test: RelayTest): Promise<Verdict | Untested | OpenRelay> {
  const { prober, path, port } = test
  const times = { timeoutMs: patient(world, dialogueMs), holdMs: patient(world, holdMs) }
  const ask = (address: Ip) => prober.relay({ address, port, ...times } satisfies RelaySpec)
  const running = ask(path.ingress.public)
  const forwarded = await running.result
  const flow = await flowOf(world, test, forwarded)
  running.close()
  let straight: RelayResult | null = null
  if (forwarded.outcome === 'accepted') {
    const second = ask(path.active.public)
    straight = await second.result
    second.close()
  }
  return relayVerdict({ forwarded, straight, flow, forwarder: path.ingress.host, origin: path.active.host })
}

/** Of the connection that still stands after the dialogue. */
async function flowOf(
  world: World,
  { path, forwardedPort, expected, judge }: RelayTest,
  { source, sourcePort, detail }: RelayResult,
): Promise<Verdict | Untested> {
  if (source === '') return { kind: 'untested', cause: detail }
  const client = expected ?? source
  const flow = (await agentOf(world, path.active.host).findFlow({
    protocol: 'tcp',
    address: path.direct ? path.ingress.local : path.active.local,
    port: forwardedPort,
    client,
    // Behind a translator the port is another one there.
    clientPort: client === source ? sourcePort : 0,
    timeoutMs: patient(world, holdMs) - 500,
  })) as FlowEvidence
  return judge({ outcome: 'answered', source, sourcePort, bytes: 0, connectMs: 1, detail }, flow)
}
