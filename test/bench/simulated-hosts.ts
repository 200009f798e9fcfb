/**
 * Hosts that are not there, in this very process: what `Site` and `Agent` promise, with the time that a call and a
 * connection would take. Their addresses are the loopback's, so that probes are real connections.
 */
import { createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { Witnesses } from '../../agent/probe/witness.js'
import type { Agent, AgentState } from '../../controller/agents/agent.js'
import type { Fleet } from '../../controller/config/fleet.js'
import { parseFleet } from '../../controller/config/load-fleet.js'
import { type Installed, Site, type SiteTarget } from '../../controller/site.js'
import type { Ip } from '../../proto/model/address.js'
import type { HostFacts } from '../../proto/model/facts.js'
import type { HostSpec } from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'
import type { Receipt } from '../../proto/model/probe.js'

/** One call to an agent, and one new connection over SSH. */
export const [callMs, connectMs] = [5, 50]
const servicePort = 18_080

export interface SimulatedFleet {
  fleet: Fleet
  end(): void
}

/** Pairs of hosts, each with a rolling service; `Site.connect` finds them until `end`. */
export async function simulate(pairs: number, facts: HostFacts): Promise<SimulatedFleet> {
  const fleet = onLoopback(parseFleet(JSON.stringify(document(pairs)), 'fleet.yaml'))
  const listener = createServer((socket) => socket.on('error', () => {}).end()).listen(servicePort, '0.0.0.0')
  await new Promise((resolve, reject) => listener.once('listening', resolve).once('error', reject))
  const witnesses = new Witnesses()
  const agents = new Map([...fleet.hosts.keys()].map((host) => [host, agentOf(host, witnesses)]))
  const connect = Site.connect
  Site.connect = async ({ name }: SiteTarget) => {
    await delay(connectMs)
    const address = fleet.hosts.get(name)!.addresses[0]!.public
    return siteOf(name, agents.get(name)!, {
      ...facts,
      addresses: [{ device: 'eth0', address, prefix: 32, scope: 'global' }],
    })
  }
  return {
    fleet,
    end: () => {
      Site.connect = connect
      listener.close()
    },
  }
}

function document(pairs: number): object {
  const all = Array.from({ length: pairs }, (_, i) => i)
  const address = (net: number, i: number): string => `10.${net}.${i >> 8}.${i & 255}`
  const host = (net: number, i: number) => ({ ssh: `root@${address(net, i)}`, addresses: [address(net, i)] })
  const run = { start: 'true', stop: 'true' }
  return {
    fleet: 'simulated',
    hosts: Object.fromEntries(all.flatMap((i) => [[`old${i}`, host(1, i)] as const, [`new${i}`, host(2, i)] as const])),
    services: Object.fromEntries(
      all.map((i) => [
        `web${i}`,
        { from: `old${i}`, to: `new${i}`, listen: [`tcp/${servicePort}`], strategy: 'rolling', drain: '1s', run },
      ]),
    ),
  }
}

/** In fleet.yaml such addresses are refused, since no other host could reach them. */
function onLoopback(fleet: Fleet): Fleet {
  const hosts = [...fleet.hosts].map(([name, host]) => {
    const addresses = host.addresses.map((each) => ({ ...each, public: each.public.replace(/^10\./, '127.') as Ip }))
    return [name, { ...host, addresses }] as const
  })
  return { ...fleet, hosts: new Map(hosts) }
}

/** What the use cases ask of a machine. */
function siteOf(name: Name, agent: Agent, facts: HostFacts): Site {
  const installed: Installed = { agent, bytes: 0, started: false }
  const site = {
    ...{ name, facts, basics: facts, touched: true, lockId: '' },
    agent: async () => agent,
    runsExpected: async () => true,
    install: async () => installed,
    look: async () => ({ code: 0, stdout: '', stderr: '' }),
    anew: async <T>(use: (agent: Agent) => Promise<T>): Promise<T> => {
      await delay(connectMs)
      return use(agent)
    },
    close: async () => {},
  }
  return site as unknown as Site
}

/** An agent that does at once whatever it is asked, and remembers what it has confirmed. */
function agentOf(host: Name, witnesses: Witnesses): Agent {
  let confirmed: HostSpec | null = null
  let trial: HostSpec | null = null
  let generation = 0
  const call = async <T>(value: T): Promise<T> => {
    await delay(callMs)
    // As it comes from the wire: nobody's object but the caller's.
    return structuredClone(value)
  }
  const running = { stop: () => {} }
  const agent: Partial<Agent> = {
    ...{ host, slowness: 1 },
    hello: () =>
      call<AgentState>({ version: '', hostname: host, confirmed, trial, trialRemainingMs: 0, generation, gaps: [] }),
    lock: async () => ({ renew: () => {}, release: () => call(undefined), lost: new Promise<void>(() => {}) }),
    identity: () => call('HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw='),
    reflect: async () => call(undefined).then(() => running),
    measurePath: () => call({ reached: true, mtu: 1500, detail: '' }),
    awaitTunnel: () => call({ up: true, rttMs: 1, detail: '' }),
    apply: async (spec) => {
      const changed = !isDeepStrictEqual(spec, confirmed)
      if (changed) trial = structuredClone(spec)
      generation = Math.max(generation, spec.generation)
      return call({ changed, steps: [] })
    },
    revert: async () => {
      trial = null
      return call([])
    },
    confirm: async (number) => {
      if (trial?.generation === number) [confirmed, trial] = [trial, null]
      await call(undefined)
    },
    status: () =>
      call({
        ...{ services: [], drift: [], mended: undefined, fighting: [], blind: [], lock: undefined },
        ...{ tracked: undefined, unlogged: [] },
        tunnels: (confirmed?.tunnels ?? []).map(({ index }) => ({ index, up: true, rttMs: 1, fits: 0 })),
      } as unknown as Awaited<ReturnType<Agent['status']>>),
    witness: async (ports, tokens, onReceipt) => {
      const ending = new AbortController()
      const told = (receipt: Receipt): void => onReceipt({ ...receipt, token: Buffer.from(receipt.token) })
      await witnesses.open({ ports, tokens, onReceipt: told, signal: ending.signal })
      return { stop: () => ending.abort() }
    },
    findFlow: () => call({ found: true, evidence: 'socket', tunnel: 1, detail: 'simulated' }),
    lifecycle: () => call({ ok: true, ended: '0', output: '' }),
    health: () => call({ healthy: true, detail: '' }),
    drain: () => call({ established: 0, clients: [], oldest: undefined }),
    settle: () => call(0),
    purgeUdp: () => call(0),
  }
  return agent as Agent
}
