/** Which ways there are to a service that can be proved: a pair of addresses and a protocol each. Pure. */
import type { Ip } from '../../proto/model/address.js'
import type { Protocol, TunnelDriver } from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'
import type { Fleet, Service } from '../config/fleet.js'
import { addressPairs } from './addressing.js'
import type { Locals, States } from './host-specs.js'
import { isRedirectedPort } from './redirects.js'
import { pairKey, type TunnelPair } from './tunnel-pair.js'

export interface PathEnd {
  host: Name
  public: Ip
  local: Ip
}

export interface Path {
  service: Service
  protocol: Protocol
  /** The host that forwards, by the address that clients use. */
  ingress: PathEnd
  /** The ingress address has moved: the host that answers has it, and nobody forwards. */
  direct: boolean
  /** The host that answers. */
  active: PathEnd
  driver: TunnelDriver
  /** Of the tunnel's own ends, in case one of them shows up as a source. */
  tunnelAddresses: Ip[]
  /** `probePort` is forwarded, the next one never is. */
  probePort: number
  /**
   * The first port of each TCP listener: as clients use it, as it arrives through the tunnel, and whether the
   * ingress answers it itself with a redirect. Of very many a sample: all go the same way through one map, and
   * each costs a connection on every path.
   */
  listeners: { port: number; forwardedPort: number; redirected: boolean }[]
}

export function pathsOf(
  input: { fleet: Fleet; locals: Locals; states: States; pairs: readonly TunnelPair[] },
  service: Service,
): Path[] {
  const state = input.states.get(service.name)
  const pair = input.pairs.find((known) => pairKey(known.a, known.b) === pairKey(service.from, service.to))
  if (!state || !pair) return []
  const onNew = state.active === service.to
  const end = (host: Name, address: Ip): PathEnd => ({
    host,
    public: address,
    local: input.locals.get(host)?.find((known) => known.public === address)?.local ?? address,
  })
  const tunnel = pair.ends[pair.a]!
  const protocols = [...new Set(service.listen.map((listener) => listener.protocol))]
  const addresses = addressPairs(service, input.fleet.hosts.get(service.from)!, input.fleet.hosts.get(service.to)!)
  return addresses.flatMap((each) => {
    const [before, after] = [end(service.from, each.old.public), end(service.to, each.new.public)]
    const direct = state.address === 'moved'
    const there = { ...before, host: service.to, local: before.public }
    const [ingress, active] = onNew ? [direct ? there : before, after] : [after, before]
    return protocols.map((protocol) => ({
      service,
      protocol,
      ingress,
      direct,
      active,
      driver: tunnel.driver,
      tunnelAddresses: [tunnel.local4, tunnel.peer4, tunnel.local6, tunnel.peer6],
      probePort: tunnel.probe.port,
      listeners:
        protocol === 'tcp'
          ? triedListeners(service).map((listener) => ({
              port: listener.ports.from,
              redirected: isRedirectedPort(service, state, listener),
              forwardedPort: (onNew ? listener.newPort : listener.oldPort) ?? listener.ports.from,
            }))
          : [],
    }))
  })
}

/** 100 listeners by two ways of two families are proved within seconds, and 2,000 not before a trial is over. */
const mostListeners = 100

/** The TCP listeners of a service that are connected to: all, or of very many an even sample with the first and the last. */
export function triedListeners(service: Service): Service['listen'] {
  const all = service.listen.filter((listener) => listener.protocol === 'tcp')
  if (all.length <= mostListeners) return all
  return Array.from({ length: mostListeners }, (_, i) => all[Math.round((i * (all.length - 1)) / (mostListeners - 1))]!)
}
