/** `fleetmove explain`: one client's way through both hosts, told by their kernels, and what stops it. */
import { randomBytes } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { familyOf, type Ip } from '../proto/model/address.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { Protocol } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import { type Listener, listenerText, parseIp } from '../proto/parse.js'
import type { Fleet, Service } from './config/fleet.js'
import { inParallel } from './in-parallel.js'
import { type Hop, inOrderOfWay, type JourneyVerdict, judge, type Leg, legsOf } from './plan/journey.js'
import { type Path, pathsOf } from './plan/probe-paths.js'
import { redirectOf } from './plan/redirects.js'
import { type Prober, probersOf } from './probers.js'
import { timed } from './progress.js'
import { selectServices } from './select-services.js'
import type { Site } from './site.js'
import { agentOf, type Context, type World, withWorld } from './world.js'

export interface ExplainOptions {
  /** ADDRESS, ADDRESS:PORT ([ADDRESS]:PORT), or a vantage's name. */
  client: string
  service: string
  /** Which listener; undefined: the first TCP one, else the first. */
  listener: Listener | undefined
  /** How long packets of a client are waited for that we can't send ourselves, in ms. */
  waitMs: number
}

export interface Explanation {
  client: string
  service: Name
  listener: string
  active: Name
  /** One for each address of the client's family: by the host that forwards, and by the one that answers. */
  journeys: Journey[]
}

export interface Journey {
  ingress: Name
  address: string
  /** A probe of ours, or packets that the client itself sent. */
  sent: string
  legs: Leg[]
  /** What connection tracking and sockets of each host know of the client. */
  flows: { host: Name; text: string }[]
  verdict: JourneyVerdict
}

interface Client {
  readonly ip: Ip
  readonly port: number
  /** Who can send from there. */
  readonly prober: Prober | undefined
}

const probeMs = 3000
/** The kernel tells of the last packet a moment after it; on a busy host, of one that was answered, later. */
const settleMs = 300
const longestSettleMs = 3000

/** Sends or awaits packets, and changes nothing but a trace that ends with it. */
export async function explain(context: Context, options: ExplainOptions): Promise<Explanation> {
  const service = selectServices(context.fleet, [options.service])[0]!
  const listener = listenerOf(service, options.listener)
  const named = namedClient(context.fleet, options.client)
  return withWorld(context, async (world) => {
    const state = world.states.get(service.name)
    if (!state || state.stage === 'planned') {
      throw new FleetmoveError('gate', {
        message: `nothing is set up yet for ${options.service}`,
        hint: 'run `fleetmove up` first',
      })
    }
    const client = clientOf(world, named)
    const ways = pathsOf(world, service).filter(
      (path) => path.protocol === listener.protocol && familyOf(path.ingress.public) === familyOf(client.ip),
    )
    if (ways.length === 0) {
      throw new FleetmoveError('usage', {
        message: `${service.name} has no addresses of the client's family (IPv${familyOf(client.ip)})`,
        hint: 'name an address of the other family, or add addresses to the hosts in fleet.yaml',
      })
    }
    const journeys: Journey[] = []
    for (const path of ways)
      for (const ingress of [path.ingress, path.active])
        journeys.push(await journey(world, { service, listener, client, path, ingress, waitMs: options.waitMs }))
    return {
      client: options.client,
      service: service.name,
      listener: listenerText(listener),
      active: state.active,
      journeys,
    }
  })
}

function listenerOf(service: Service, wanted: Listener | undefined): Listener {
  const all = service.listen.map(({ protocol, ports }) => ({ protocol, ports }))
  if (wanted === undefined) return all.find(({ protocol }) => protocol === 'tcp') ?? all[0]!
  const { from, to } = wanted.ports
  const found = all.some(({ protocol, ports }) => protocol === wanted.protocol && ports.from <= from && to <= ports.to)
  if (found) return wanted
  throw new FleetmoveError('usage', {
    message: `${service.name} has no listener ${listenerText(wanted)}`,
    hint: `its listeners are: ${all.map(listenerText).join(', ')}`,
  })
}

/** As it was named, before any host is asked. */
type NamedClient = { readonly vantage: Name } | { readonly ip: Ip; readonly port: number | undefined }

function namedClient(fleet: Fleet, text: string): NamedClient {
  if (fleet.vantages.has(text as Name)) return { vantage: text as Name }
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  const ip = parseIp(bracketed ?? plain ?? text)
  if (ip.ok && Number(port ?? 1) >= 1 && Number(port ?? 1) <= 65535)
    return { ip: ip.value, port: port === undefined ? undefined : Number(port) }
  const names = [...fleet.vantages.keys()].join(', ')
  throw new FleetmoveError('usage', {
    message: `${JSON.stringify(text)} is neither an address${port === undefined ? '' : ' with a port'} nor a vantage`,
    hint: `give ADDRESS, ADDRESS:PORT ([ADDRESS]:PORT for IPv6)${names === '' ? '' : `, or one of ${names}`}`,
  })
}

function clientOf(world: World, named: NamedClient): Client {
  const probers = probersOf(world)
  if ('vantage' in named) {
    const addresses = addressesOf(world.vantages.get(named.vantage)!)
    const ip = sourceOf(addresses, 4) ?? sourceOf(addresses, 6)
    if (ip !== undefined) return { ip, port: 0, prober: probers.find(({ name }) => name === named.vantage) }
    throw new FleetmoveError('preflight', {
      message: `${named.vantage} has no address from which others could be reached`,
      hint: 'name another vantage, or an address',
      host: named.vantage,
    })
  }
  const { ip, port } = named
  // A connection that stands already isn't opened again: only what it sends itself is seen.
  return { ip, port: port ?? 0, prober: port === undefined ? proberAt(world, probers, ip) : undefined }
}

const addressesOf = (site: Site): Ip[] => site.basics.addresses.map(({ address }) => address as Ip)

/** What a host sends from, as a rule: its first address that others can answer. */
const sourceOf = (addresses: readonly Ip[], family: 4 | 6): Ip | undefined =>
  addresses.find((ip) => familyOf(ip) === family && ip !== '::1' && !/^(127\.|fe80:)/.test(ip))

function proberAt(world: World, probers: readonly Prober[], ip: Ip): Prober | undefined {
  const sendsFrom = (addresses: readonly Ip[]): boolean => sourceOf(addresses, familyOf(ip)) === ip
  const own = Object.values(networkInterfaces()).flatMap((each) => each?.map(({ address }) => address as Ip) ?? [])
  if (sendsFrom(own)) return probers.find(({ name }) => name === 'this machine')
  const at = [...world.vantages].find(([, site]) => sendsFrom(addressesOf(site)))
  return probers.find(({ name }) => name === at?.[0])
}

interface JourneyOptions {
  service: Service
  listener: Listener
  client: Client
  path: Path
  ingress: Path['ingress']
  waitMs: number
}

async function journey(world: World, options: JourneyOptions): Promise<Journey> {
  const { listener, client, path, ingress, waitMs } = options
  const known = path.listeners.find(({ port }) => port === listener.ports.from)
  const answering = known?.redirected && ingress === path.ingress ? ingress : path.active
  const hosts = [...new Set([ingress.host, answering.host])]
  const hops = new Map<Name, Hop[]>(hosts.map((host) => [host, []]))
  const forMs = (client.prober ? probeMs : waitMs) + 10_000
  const request = {
    client: client.ip,
    clientPort: client.port,
    protocol: listener.protocol,
    ports: portsOf(world.fleet, options.service, listener),
    forMs,
  }
  const running = await inParallel(hosts, (host) =>
    agentOf(world, host).trace(request, (hop) => void hops.get(host)!.push(hop)),
  )
  const legs = (): Leg[] => hosts.flatMap((host) => legsOf(host, hops.get(host)!, client.ip))
  try {
    const sent = await send(world, options, legs)
    const judged = (): Pick<Journey, 'legs' | 'verdict'> & { answered: boolean } => {
      const seen = inOrderOfWay(legs(), ingress.host)
      const answered = sent.answered(seen)
      const places = { ingress: ingress.host, active: answering.host, sender: client.prober?.name ?? client.ip }
      return { legs: seen, answered, verdict: judge({ ...places, legs: seen, answered }) }
    }
    const until = performance.now() + longestSettleMs
    await delay(settleMs)
    while (judged().answered && !judged().verdict.ok && performance.now() < until) await delay(settleMs)
    const flows = await flowsOf(world, { ...options, answering }, sent.port)
    const { legs: seen, verdict } = judged()
    return { ingress: ingress.host, address: ingress.public, sent: sent.text, legs: seen, flows, verdict }
  } finally {
    for (const each of running) each.stop()
  }
}

/** What carries the listener's traffic on either host: as clients use it, and where the process listens. */
function portsOf(fleet: Fleet, service: Service, { protocol, ports }: Listener): number[] {
  const own = service.listen.filter((each) => each.protocol === protocol)
  const entry = own.find((each) => each.ports.from <= ports.from && ports.to <= each.ports.to)
  const { port: redirect } = redirectOf(fleet, service) ?? { port: ports.from }
  return [...new Set([ports.from, entry?.oldPort ?? ports.from, entry?.newPort ?? ports.from, redirect])]
}

/** Opens a connection of our own where we can, else waits for the client's. */
async function send(
  world: World,
  { service, listener, client, ingress, waitMs }: JourneyOptions,
  legs: () => Leg[],
): Promise<{ text: string; port: number; answered: (legs: readonly Leg[]) => boolean }> {
  const target = `${listenerText(listener)} of ${ingress.public} (${ingress.host})`
  const { prober } = client
  if (!prober) {
    const until = performance.now() + waitMs
    const came = (): boolean => legs().some(({ direction }) => direction === 'request')
    await timed(world.progress, service.name, `waits for packets of ${client.ip} to ${target}`, async () => {
      while (!came() && performance.now() < until) await delay(100)
    })
    const text = came() ? `packets that ${client.ip} sent itself` : `none within ${waitMs / 1000} s`
    // Nobody tells us what the client has heard: that an answer went out is all that can be known.
    return {
      text,
      port: client.port,
      answered: (seen) =>
        seen.some(
          (leg) => leg.direction === 'reply' && !leg.refusal && leg.end === 'sent' && leg.host === ingress.host,
        ),
    }
  }
  const probe = {
    protocol: listener.protocol satisfies Protocol,
    address: ingress.public,
    port: listener.ports.from,
    token: randomBytes(16),
    bytes: 0,
    timeoutMs: probeMs,
    connectOnly: listener.protocol === 'tcp',
    holdMs: 100,
  }
  const result = await timed(world.progress, service.name, `${prober.name} connects to ${target}`, () =>
    prober.send(probe),
  )
  const text = `a connection from ${prober.name}: ${result.outcome}, ${result.detail}`
  // A server that says nothing to a datagram which it doesn't understand has been reached all the same.
  const answered = listener.protocol === 'tcp' ? result.outcome === 'answered' : undefined
  return {
    text,
    // Behind a translation the hosts see another port.
    port: result.source === client.ip ? result.sourcePort : 0,
    answered: (seen) => answered ?? seen.some(({ direction, refusal }) => direction === 'reply' && !refusal),
  }
}

/** Whatever either host knows of the client at this listener. */
async function flowsOf(
  world: World,
  { listener, client, path, ingress, answering }: JourneyOptions & { answering: Path['ingress'] },
  clientPort: number,
): Promise<Journey['flows']> {
  const ends = ingress.host === answering.host ? [answering] : [ingress, answering]
  const flows = await inParallel(ends, async (end) => {
    const forwarded = end.host === path.active.host && path.listeners.find(({ port }) => port === listener.ports.from)
    const port = forwarded ? forwarded.forwardedPort : listener.ports.from
    const query = { protocol: listener.protocol, address: end.local, port, client: client.ip, clientPort }
    const { detail } = await agentOf(world, end.host).findFlow({ ...query, timeoutMs: 0 })
    return { host: end.host, text: detail }
  })
  return flows.filter(({ text }) => !text.startsWith('no connection'))
}
