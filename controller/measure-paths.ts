/** The paths between hosts that will have a tunnel, measured without an agent and leaving nothing there. */
import { randomBytes } from 'node:crypto'
import { type Family, familyOf, type Ip } from '../proto/model/address.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { HostFacts } from '../proto/model/facts.js'
import { pathProbeScript } from './bootstrap/path-probe-script.js'
import { inParallel } from './in-parallel.js'
import type { PlannedPath } from './plan/fleet-plan.js'
import { outerAddresses, tunnelPort } from './plan/tunnel-pair.js'
import { timed } from './progress.js'
import type { Site } from './site.js'
import { missingPairs, type Outer } from './tunnels.js'
import type { World } from './world.js'

/** Until both ends have begun, sudo included, and the smallest packet has had its chances. */
const probeSeconds = 6
/** Exit codes of the shell and of the script. */
const noPerl = 97
const portTaken = 98

/** Only of pairs whose tunnel doesn't stand: a standing one has the port, and its MTU. */
export async function measurePaths(world: World): Promise<PlannedPath[]> {
  if (world.fleet.tunnel.driver === 'direct') return []
  const missing = missingPairs(world).flatMap(({ a, b, index }) => {
    const of = (host: typeof a) => ({ publicAddresses: world.locals.get(host)!.map((address) => address.public) })
    const outer = outerAddresses(of(a), of(b))
    const port = tunnelPort(world.fleet.tunnel.port, index)
    return outer ? [{ a: { name: a, ip: outer.a }, b: { name: b, ip: outer.b }, port, family: outer.family }] : []
  })
  return inParallel(
    missing,
    ({ a, b, port, family }) =>
      timed(
        world.progress,
        `${a.name} ↔ ${b.name}`,
        `path on UDP port ${port}`,
        () => measure(world, a, b, port, family),
        ({ mtu, how }) =>
          mtu ? `MTU ${mtu.aToB || 'none'} there, ${mtu.bToA || 'none'} back` : `not measured: ${how}`,
      ),
    8,
  )
}

async function measure(world: World, a: Outer, b: Outer, port: number, family: Family): Promise<PlannedPath> {
  const path = { a: a.name, b: b.name, port }
  const word = randomBytes(8).toString('hex')
  const ends = await Promise.all(
    (
      [
        [a, b],
        [b, a],
      ] as const
    ).map(([own, peer]) => probe(world.sites.get(own.name)!, peer.ip, port, word, family)),
  )
  const failed = ends.find((end) => typeof end === 'string')
  if (typeof failed === 'string') return { ...path, mtu: null, how: failed }
  const [ofA, ofB] = ends as [ProbeEnd, ProbeEnd]
  // Without the way back there are no answers, and nothing but arrival is known.
  const least = family === 6 ? 1280 : 576
  const mtu = { aToB: ofB.heard ? ofA.mtu || least : 0, bToA: ofA.heard ? ofB.mtu || least : 0 }
  return { ...path, mtu, how: 'datagrams with DF on the port itself, from both ends at once' }
}

interface ProbeEnd {
  heard: boolean
  mtu: number
}

/** @returns a string: why it can't be measured there */
async function probe(site: Site, peer: Ip, port: number, word: string, family: Family): Promise<ProbeEnd | string> {
  const device = site.facts.defaultRoutes.find((route) => route.family === family)?.device
  const top = site.facts.links.find(({ name }) => name === device)?.mtu ?? 1500
  const words = [String(port), peer, word, String(top), String(probeSeconds)]
  const { code, stdout, stderr } = await site.look(
    ['sh', '-c', `command -v perl >/dev/null || exit ${noPerl}; exec perl - "$@"`, 'sh', ...words],
    { input: pathProbeScript },
  )
  if (code === noPerl) return `${site.name} has no perl; up measures it`
  if (code === portTaken) return `the port is in use on ${site.name}`
  const match = /^([01]) (\d+)$/.exec(stdout.trim())
  if (code !== 0 || match === null) return `perl on ${site.name}: ${stderr.trim().slice(0, 200) || `exit code ${code}`}`
  return { heard: match[1] === '1', mtu: Number(match[2]) }
}

/** Paths by which no tunnel can come up, as `up` would find. */
export function pathProblems(paths: readonly PlannedPath[]): FleetmoveError[] {
  return paths.flatMap(({ a, b, port, mtu }) => {
    if (!mtu) return []
    const shut = [...(mtu.aToB === 0 ? [{ from: a, to: b }] : []), ...(mtu.bToA === 0 ? [{ from: b, to: a }] : [])]
    return shut.map(
      ({ from, to }) =>
        new FleetmoveError('preflight', {
          message: `UDP port ${port} of ${to} can't be reached from ${from}`,
          hint: `let UDP ${port} through in the firewalls of both hosts and of both providers, or choose another with tunnel: { port: … }`,
          host: to,
        }),
    )
  })
}

/** What `up` would begin with where nothing could be measured: the narrower of the two devices. */
export function deviceMtu(world: World, a: Outer, b: Outer): number {
  const of = (facts: HostFacts, family: Family): number => {
    const device = facts.defaultRoutes.find((route) => route.family === family)?.device
    return facts.links.find(({ name }) => name === device)?.mtu ?? 1500
  }
  return Math.min(...[a, b].map(({ name, ip }) => of(world.sites.get(name)!.facts, familyOf(ip))))
}
