/** Fleet × tunnels × stages → the whole desired state of every host. Pure. */
import { familyOf, type Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import {
  type AddressPair,
  type AddressState,
  type Canary,
  type HostSpec,
  isUnderWay,
  type ServiceRoute,
  type ServiceSpec,
  type Stage,
} from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'
import type { Fleet, Service } from '../config/fleet.js'
import { addressPairs, type ResolvedAddress } from './addressing.js'
import { type MovingAddress, movedAddresses, movingAddresses } from './moving-addresses.js'
import { answersRedirects, isRedirectedPort, redirectOf } from './redirects.js'
import type { TunnelPair } from './tunnel-pair.js'

/** Where a service stands in its move. */
export interface ServiceState {
  stage: Stage
  /** Where the process answers now. */
  active: Name
  /** Some clients are answered by the new host already, while `active` is still the old one. */
  canary?: Canary | undefined
  /** Nobody answers: between the stop on one host and the start on the other. */
  paused?: boolean
  /** A balancer's checks are refused on this host, for it is being left. */
  dark?: Name
  /** Where its old addresses are; left away while they are as they were found. */
  address?: AddressState
}

export type States = ReadonlyMap<Name, ServiceState>
/** Host → its addresses, public and as they stand on the host. */
export type Locals = ReadonlyMap<Name, readonly ResolvedAddress[]>

export interface SpecsInput {
  fleet: Fleet
  locals: Locals
  pairs: readonly TunnelPair[]
  states: States
  generation: number
  /** What the hosts have confirmed: addresses that have settled stay so. */
  held?: ReadonlyMap<Name, HostSpec>
}

/** A spec for every one of these hosts (all of the fleet's) that has a tunnel, or holds one. */
export function hostSpecs(input: SpecsInput, hosts: Iterable<Name> = input.fleet.hosts.keys()): Map<Name, HostSpec> {
  const indexed = indexedByHost(input)
  return new Map([...hosts].flatMap((host) => specOf(indexed, host)).map((spec) => [spec.host, spec]))
}

/** A fleet of a thousand hosts isn't gone through for each of them: every change of a wave makes specs. */
interface Indexed extends SpecsInput {
  servicesOf: ReadonlyMap<Name, readonly Service[]>
  pairsOf: ReadonlyMap<Name, readonly TunnelPair[]>
  moving: readonly MovingAddress[]
}

const indexedByHost = (input: SpecsInput): Indexed => ({
  ...input,
  servicesOf: byHost(input.fleet.services.values(), ({ from, to }) => [from, to]),
  pairsOf: byHost(input.pairs, ({ a, b }) => [a, b]),
  moving: movingAddresses(input.fleet),
})

function byHost<T>(all: Iterable<T>, hostsOf: (each: T) => readonly Name[]): Map<Name, T[]> {
  const found = new Map<Name, T[]>()
  for (const each of all) {
    for (const host of hostsOf(each)) {
      const known = found.get(host)
      if (known) known.push(each)
      else found.set(host, [each])
    }
  }
  return found
}

function specOf(input: Indexed, host: Name): HostSpec[] {
  const tunnels = input.pairsOf.get(host) ?? []
  const held = input.held?.get(host)
  // One that holds something that it isn't to have any more is told so.
  if (tunnels.length === 0 && !held?.tunnels.length) return []
  const addresses = movedAddresses(input, host, held)
  return [
    {
      fleet: input.fleet.name,
      host,
      generation: input.generation,
      tunnels: tunnels
        .map((pair) => {
          const end = pair.ends[host]!
          return { ...end, probe: { port: end.probe.port, pairs: probePairs(input, host, end.peer) } }
        })
        .sort((x, y) => x.index - y.index),
      services: (input.servicesOf.get(host) ?? []).flatMap((service) => serviceSpec(input, service, host)),
      ...logOf(input.fleet),
      ...(addresses.length > 0 ? { addresses } : {}),
    },
  ]
}

function logOf({ log }: Fleet): Pick<HostSpec, 'log'> {
  if (!log?.connections && !log?.metrics) return {}
  return {
    log: { ...(log.connections ? { connections: true } : {}), ...(log.metrics ? { metrics: log.metrics } : {}) },
  }
}

/** A service on its way, as one of its hosts must treat it; none while it is planned or finalized. */
function serviceSpec(input: Indexed, service: Service, host: Name): ServiceSpec[] {
  const state = input.states.get(service.name)
  if (!state || !isUnderWay(state.stage)) return []
  const { name, from, to } = service
  return [
    {
      name,
      stage: state.stage,
      from,
      to,
      active: state.active,
      canary: state.canary ?? null,
      routes: [...routes(input, service, host, state), ...routesByMoved(input, service, host, state)],
      // Only processes on the old host can have got used to it there.
      ...(service.check !== undefined && state.dark ? { dark: { host: state.dark, port: service.check } } : {}),
      ...egressOf(input, service, host, state),
      ...(state.address ? { address: state.address } : {}),
      ...(answersRedirects(service, host, state) ? { redirect: redirectOf(input.fleet, service)! } : {}),
      ...(service.localhost && host === from ? { localhost: true as const } : {}),
    },
  ]
}

function routes(input: Indexed, service: Service, host: Name, state: ServiceState): ServiceRoute[] {
  const peer = host === service.from ? service.to : service.from
  const tunnel = tunnelTo(input, host, peer)
  if (tunnel === undefined) return []
  return servicePairs(input, service).flatMap((addresses) => {
    const [own, other] = host === service.from ? [addresses.old, addresses.new] : [addresses.new, addresses.old]
    return service.listen.map((listener): ServiceRoute => {
      const portOn = (side: Name): number => {
        const port = (side === service.from ? listener.oldPort : listener.newPort) ?? 0
        return port === listener.ports.from ? 0 : port
      }
      const forward = { tunnel, to: other, port: portOn(peer) }
      const serve = { port: portOn(host) }
      return {
        protocol: listener.protocol,
        address: own,
        ports: { ...listener.ports },
        ...(listener.helper ? { helper: listener.helper } : {}),
        action: state.paused
          ? { kind: 'pause' }
          : host === service.from && isRedirectedPort(service, state, listener)
            ? { kind: 'redirect' }
            : state.canary
              ? { kind: 'split', forward, serve }
              : state.active === host
                ? { kind: 'serve', ...serve }
                : { kind: 'forward', ...forward },
      }
    })
  })
}

const tunnelTo = ({ pairsOf }: Indexed, host: Name, peer: Name): number | undefined =>
  pairsOf.get(host)?.find(({ a, b }) => a === peer || b === peer)?.ends[host]?.index

/** On the new host, which answers by the old addresses, too, or still has connections by them. */
function routesByMoved(input: SpecsInput, service: Service, host: Name, { address }: ServiceState): ServiceRoute[] {
  if (!address || host !== service.to) return []
  return servicePairs(input, service).flatMap(({ old }) =>
    service.listen.map(
      ({ protocol, ports, helper }): ServiceRoute => ({
        protocol,
        address: old,
        ports: { ...ports },
        ...(helper ? { helper } : {}),
        action: { kind: 'serve', port: 0 },
      }),
    ),
  )
}

/** While it runs where its connections are to leave from there is nothing to do. */
function egressOf(input: Indexed, service: Service, host: Name, state: ServiceState): Pick<ServiceSpec, 'egress'> {
  const { egress, egressFrom } = service
  if (!egress || !egressFrom || egress === state.active) return {}
  const tunnel = tunnelTo(input, host, host === service.from ? service.to : service.from)
  if (tunnel === undefined) return {}
  if (host === egress) return { egress: { tunnel } }
  const { kind: _kind, ...chooser } = egressFrom
  return { egress: { tunnel, ...chooser } }
}

/** Addresses as they stand on the hosts. */
export function servicePairs(input: Pick<SpecsInput, 'fleet' | 'locals'>, service: Service): { old: Ip; new: Ip }[] {
  const local = (host: Name, address: Ip): Ip =>
    input.locals.get(host)?.find((known) => known.public === address)?.local ?? address
  const [from, to] = [input.fleet.hosts.get(service.from)!, input.fleet.hosts.get(service.to)!]
  return addressPairs(service, from, to).map((pair) => ({
    old: local(service.from, pair.old.public),
    new: local(service.to, pair.new.public),
  }))
}

/** The addresses of `host` that stand for addresses of `peer`: each gets a probe port of its own. */
function probePairs(input: Indexed, host: Name, peer: Name): AddressPair[] {
  const found = new Map<Ip, Ip>()
  for (const service of input.servicesOf.get(host) ?? []) {
    if (service.from !== peer && service.to !== peer) continue
    for (const addresses of servicePairs(input, service)) {
      const [own, other] = host === service.from ? [addresses.old, addresses.new] : [addresses.new, addresses.old]
      if (!found.has(own)) found.set(own, other)
    }
  }
  return [...found]
    .map(([local, to]) => ({ local, peer: to }))
    .sort((x, y) => familyOf(x.local) - familyOf(y.local) || (x.local < y.local ? -1 : 1))
}

/**
 * Where each service stands, as the hosts' confirmed specs tell: of two that differ (a command was
 * killed between them) the younger one counts.
 * @throws FleetmoveError 'conflict' for a service that is on its way between other hosts
 */
export function statesOf(fleet: Fleet, specs: ReadonlyMap<Name, HostSpec>): Map<Name, ServiceState> {
  const states = new Map<Name, ServiceState>()
  for (const service of fleet.services.values()) {
    const records = [service.from, service.to]
      .map((host) => specs.get(host))
      .flatMap((spec) => {
        const record = spec?.services.find((each) => each.name === service.name)
        return spec && record ? [{ generation: spec.generation, record }] : []
      })
      .sort((x, y) => y.generation - x.generation)
    const newest = records[0]?.record
    if (newest && (newest.from !== service.from || newest.to !== service.to)) throw redirected(service, newest)
    states.set(service.name, newest ? stateOf(newest) : { stage: 'planned', active: service.from })
  }
  return states
}

/** Whether its two hosts hold different states of the service: their controller was killed while it confirmed one. */
export function isHalfDone(service: Service, specs: ReadonlyMap<Name, HostSpec>): boolean {
  const [one, other] = [service.from, service.to].map((host) =>
    specs.get(host)?.services.find((each) => each.name === service.name),
  )
  return one !== undefined && other !== undefined && JSON.stringify(stateOf(one)) !== JSON.stringify(stateOf(other))
}

/** The hosts would be told to forward to each other, or to nobody. */
const redirected = (service: Service, { from, to }: ServiceSpec): FleetmoveError =>
  new FleetmoveError('conflict', {
    message: `${service.name} is on its way from ${from} to ${to}, but fleet.yaml says from ${service.from} to ${service.to}`,
    hint: `write it as it was and finish that move (fleetmove finalize, or fleetmove down), or give the service another name`,
  })

const stateOf = ({ stage, active, canary, routes, dark, address }: ServiceSpec): ServiceState => ({
  stage,
  active,
  ...(canary ? { canary } : {}),
  ...(dark ? { dark: dark.host } : {}),
  ...(address ? { address } : {}),
  ...(routes.some((route) => route.action.kind === 'pause') ? { paused: true } : {}),
})
