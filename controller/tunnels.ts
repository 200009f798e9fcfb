/** Tunnels between the pairs of hosts that need one: driver, keys and MTU found out, the rest decided by plan/. */
import { randomBytes } from 'node:crypto'
import type { Ip } from '../proto/model/address.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { HostFacts } from '../proto/model/facts.js'
import type { HostSpec, TunnelDriver } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import { change } from './change.js'
import { inParallel } from './in-parallel.js'
import { chooseTunnel, leastTunnelMtu, type TunnelEndFacts, tunnelMtu } from './plan/choose-tunnel.js'
import { type DirectEnd, directEnds } from './plan/direct-link.js'
import { tunnelFacts } from './plan/tunnel-facts.js'
import {
  freeIndex,
  makePair,
  neededPairs,
  outerAddresses,
  type PairHost,
  pairKey,
  refreshed,
  type TunnelPair,
  tunnelPort,
} from './plan/tunnel-pair.js'
import { timed } from './progress.js'
import { agentOf, type World } from './world.js'

/** A reflector that doesn't answer within this time isn't going to. */
const measureMs = 10_000
const tunnelUpMs = 20_000

/** How what only a host itself can tell is found out for a new pair. */
export interface PairMeans {
  /** The public half of its key. */
  identity(host: Name, kind: 'openvpn' | 'wireguard'): Promise<string>
  /** Bytes of the whole IP packet that pass both ways on this UDP port. */
  pathMtu(a: Outer, b: Outer, port: number): Promise<number>
}

/** A host, by the address at which its peer reaches it. */
export interface Outer {
  name: Name
  ip: Ip
}

const byAgents = (world: World): PairMeans => ({
  identity: (host, kind) => agentOf(world, host).identity(kind),
  pathMtu: (a, b, port) => pathMtu(world, a, b, port),
})

/** The fleet's pairs: those that stand already, and new ones for the rest. Changes nothing in a kernel. */
export async function pairsFor(world: World, means = byAgents(world)): Promise<TunnelPair[]> {
  const standing = new Map(world.pairs.map((pair) => [pairKey(pair.a, pair.b), pair]))
  const pairs = await inParallel(
    neededPairs(world.fleet).flatMap(({ a, b }) => standing.get(pairKey(a, b)) ?? []),
    (pair) =>
      narrowed(
        world,
        refreshed(pair, world.fleet, (host) => world.locals.get(host)!),
      ),
  )
  const missing = missingPairs(world)
  const made = await inParallel(missing, ({ a, b, index }) => newPair(world, means, a, b, index), 16)
  return [...pairs, ...made]
}

/**
 * Takes away ends of tunnels whose other end is gone, where a `down` was killed between two hosts or one has lost its
 * state: they hold the number and the port that the tunnel in their place is going to need. The hosts keep in mind
 * where the services are in their move.
 */
export async function dropHalfTunnels(world: World): Promise<void> {
  const whole = new Set(world.pairs.map(({ a, b }) => pairKey(a, b)))
  const isHalf = ({ host, tunnels }: HostSpec): boolean => tunnels.some(({ peer }) => !whole.has(pairKey(host, peer)))
  if (![...world.specs.values()].some(isHalf)) return
  await change(world, { untied: true })
}

/** With the MTU that the path leaves by now, where the hosts have seen large packets vanish; it is never raised again. */
async function narrowed(world: World, pair: TunnelPair): Promise<TunnelPair> {
  const { driver, index, mtu } = pair.ends[pair.a]!
  if (driver === 'direct') return pair
  const told = await inParallel([pair.a, pair.b], async (host) => {
    const reply = await world.agents.get(host)?.status(0)
    return reply?.tunnels.find((tunnel) => tunnel.index === index)?.fits ?? 0
  })
  const least = Math.min(...told.filter((fits) => fits > 0))
  const fits = Math.max(leastTunnelMtu, least)
  if (least === Number.POSITIVE_INFINITY || fits >= mtu) return pair
  world.progress.note(
    `${pair.a} ↔ ${pair.b}`,
    `the path has become narrower: packets of ${least} bytes get through the tunnel, MTU ${fits} in place of ${mtu}`,
  )
  const ends = Object.entries(pair.ends).map(([host, end]) => [host, { ...end, mtu: fits }])
  return { ...pair, ends: Object.fromEntries(ends) }
}

/** Pairs that the fleet needs and that don't stand yet, with the numbers that they will have. */
export function missingPairs(world: World): { a: Name; b: Name; index: number }[] {
  const standing = new Map(world.pairs.map((pair) => [pairKey(pair.a, pair.b), pair]))
  const needed = neededPairs(world.fleet)
  const pairs = needed.flatMap(({ a, b }) => standing.get(pairKey(a, b)) ?? [])
  const missing: { a: Name; b: Name; index: number }[] = []
  for (const { a, b } of needed) {
    if (standing.has(pairKey(a, b))) continue
    missing.push({ a, b, index: freeIndex(a, b, [...numbered(pairs), ...missing]) })
  }
  return missing
}

const numbered = (pairs: readonly TunnelPair[]) => pairs.map(({ a, b, ends }) => ({ a, b, index: ends[a]!.index }))

/** Waits until both ends of every tunnel hear each other. */
export async function awaitTunnels(world: World, pairs: readonly TunnelPair[]): Promise<void> {
  await inParallel(pairs, async ({ a, b, ends }) => {
    await timed(
      world.progress,
      `${a} ↔ ${b}`,
      'tunnel',
      async () => {
        const replies = await inParallel([a, b], (host) =>
          agentOf(world, host).awaitTunnel(ends[host]!.index, tunnelUpMs),
        )
        const down = replies.find((reply) => !reply.up)
        if (down) {
          const { driver, port, remote } = ends[a]!
          throw new FleetmoveError('tunnel', {
            message: `the ${driver} tunnel between ${a} and ${b} doesn't come up: ${down.detail}`,
            hint: `let UDP port ${port} through between ${remote} and ${ends[b]!.remote}, in both directions, or choose another with tunnel: { port: … }`,
          })
        }
        return Math.max(...replies.map((reply) => reply.rttMs))
      },
      (rtt) => `up, ${rtt.toFixed(1)} ms`,
    )
  })
}

async function newPair(world: World, means: PairMeans, a: Name, b: Name, index: number): Promise<TunnelPair> {
  const facts = (host: Name): HostFacts => world.sites.get(host)!.facts
  const endFacts = (host: Name): TunnelEndFacts => ({ host, facts: tunnelFacts(facts(host)) })
  const choice = chooseTunnel(world.fleet.tunnel.driver, endFacts(a), endFacts(b))
  if (!choice.ok) {
    throw new AggregateError(
      choice.problems.map(({ host, message, hint }) => new FleetmoveError('preflight', { host, message, hint })),
    )
  }
  world.progress.note(`${a} ↔ ${b}`, `${choice.driver}: ${choice.reason}`)
  const direct =
    choice.driver === 'direct' ? directEnds({ a, b, fleet: world.fleet, facts: (host) => facts(host) }) : undefined
  const [ofA, ofB] = await inParallel([a, b], (host) =>
    pairHost(world, means, host, choice.driver, choice.userspace[host === a ? 'a' : 'b'], direct?.get(host)),
  )
  const outer = outerAddresses(ofA!, ofB!)
  if (!outer) {
    throw new FleetmoveError('preflight', {
      message: `${a} and ${b} have no public addresses of one family`,
      hint: 'give both an IPv4 or an IPv6 address under hosts: … addresses:',
    })
  }
  const port = tunnelPort(world.fleet.tunnel.port, index)
  const mtu = direct
    ? Math.min(...[...direct.values()].map((end) => end.mtu))
    : tunnelMtu(
        await means.pathMtu({ name: a, ip: outer.a }, { name: b, ip: outer.b }, port),
        choice.driver,
        outer.family,
        choice.userspace.a || choice.userspace.b,
      )
  return makePair({ fleet: world.fleet, index, driver: choice.driver, mtu, hosts: [ofA!, ofB!], outer })
}

async function pairHost(
  world: World,
  means: PairMeans,
  host: Name,
  driver: TunnelDriver,
  userspace: boolean,
  direct: DirectEnd | undefined,
): Promise<PairHost> {
  const addresses = world.locals.get(host)!
  const kind = driver === 'openvpn' ? 'openvpn' : 'wireguard'
  return {
    name: host,
    publicAddresses: addresses.map((address) => address.public),
    allAddresses: addresses.flatMap((address) => [address.public, address.local]),
    interfaceAddresses: world.sites.get(host)!.basics.addresses.map(({ address }) => address),
    userspace,
    identity: driver === 'direct' ? '' : await means.identity(host, kind),
    direct,
  }
}

/** Measured both ways, on the tunnel's own port: the smaller one counts. Bytes of the whole IP packet. */
async function pathMtu(world: World, a: Outer, b: Outer, port: number): Promise<number> {
  return timed(
    world.progress,
    `${a.name} ↔ ${b.name}`,
    `path on UDP port ${port}`,
    async () => {
      const sizes: number[] = []
      for (const [from, to] of [
        [a, b],
        [b, a],
      ] as const) {
        const token = randomBytes(16)
        const reflector = await agentOf(world, to.name).reflect(port, token)
        try {
          const reply = await agentOf(world, from.name).measurePath({
            remote: to.ip,
            port,
            token,
            timeoutMs: measureMs,
          })
          if (!reply.reached) {
            throw new FleetmoveError('tunnel', {
              message: `UDP port ${port} of ${to.name} (${to.ip}) can't be reached from ${from.name}: ${reply.detail}`,
              hint: `let UDP ${port} through in the firewalls of both hosts and of both providers, or choose another with tunnel: { port: … }`,
              host: to.name,
            })
          }
          sizes.push(reply.mtu)
        } finally {
          reflector.stop()
        }
      }
      return Math.min(...sizes)
    },
    (mtu) => `MTU ${mtu}`,
  )
}
