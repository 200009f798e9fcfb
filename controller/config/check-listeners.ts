import type { Ip } from '../../proto/model/address.js'
import { type Listener, listenerText, quote } from '../../proto/parse.js'
import { addressPairs } from '../plan/addressing.js'
import type { Draft } from './draft.js'
import type { Path } from './fleet-document.js'
import type { ServiceEntry } from './fleet-schema.js'
import { foundAllowed, type Problem } from './problem.js'

interface Claim {
  service: string
  path: Path
  listener: Listener
  /** Its place among all in fleet.yaml. */
  order: number
}

/** By port: to compare each listener with each other takes seconds for some thousands. */
type TakenPorts = Record<Listener['protocol'], Map<number, Claim>>

/** @returns the first in fleet.yaml that has one of these ports already */
function take(ports: TakenPorts, claim: Claim): Claim | undefined {
  const taken = ports[claim.listener.protocol]
  const { from, to } = claim.listener.ports
  let clash: Claim | undefined
  for (let port = from; port <= to; port++) {
    const other = taken.get(port)
    if (other === undefined) taken.set(port, claim)
    else if (clash === undefined || other.order < clash.order) clash = other
  }
  return clash
}

/** On one address each port has one taker: a service, old side or new, or the tunnel. */
export function checkListeners(draft: Draft): Problem[] {
  const ports = new Map<Ip, TakenPorts>()
  const problems: Problem[] = []
  let order = 0
  for (const [name, service] of draft.services) {
    const addresses = ingressAddresses(draft, service)
    service.listen?.forEach((listener, i) => {
      const claim: Claim = { service: name, path: ['services', name, 'listen', i], listener, order: order++ }
      // One problem a listener: the same two meet again on every address that they share.
      let told = false
      for (const address of addresses) {
        const earlier = ports.get(address) ?? { tcp: new Map(), udp: new Map() }
        ports.set(address, earlier)
        const clash = take(earlier, claim)
        if (clash !== undefined && !told) {
          problems.push(taken(claim, clash, address))
          told = true
        }
      }
      problems.push(...tunnelClash(draft, claim))
    })
  }
  return problems
}

/** Public addresses by which the service is reached, old and new; none where that can't be told. */
function ingressAddresses({ hosts }: Draft, service: Partial<ServiceEntry>): Set<Ip> {
  const before = hosts.get(service.from ?? '')?.addresses
  const after = hosts.get(service.to ?? '')?.addresses
  if (before === undefined || after === undefined || !('addresses' in service)) return new Set()
  const pairs = addressPairs({ addresses: service.addresses }, { addresses: before }, { addresses: after })
  return new Set(pairs.flatMap((pair) => [pair.old.public, pair.new.public]))
}

const overlap = (a: Listener, b: Listener): boolean =>
  a.protocol === b.protocol && a.ports.from <= b.ports.to && b.ports.from <= a.ports.to

function taken({ service, path, listener }: Claim, clash: Claim, address: Ip): Problem {
  const whose = clash.service === service ? 'this service' : `service ${clash.service}`
  const found = `${quote(listenerText(listener))}, but on ${address} ${listenerText(clash.listener)} is ${whose}'s already`
  return { path, at: 'value', text: foundAllowed(found, 'each port once an address') }
}

function tunnelClash({ tunnel }: Draft, { path, listener }: Claim): Problem[] {
  // A direct link is somebody else's and has no port of ours.
  if (tunnel.port === undefined || tunnel.driver === 'direct') return []
  const ours: Listener = { protocol: 'udp', ports: { from: tunnel.port, to: tunnel.port } }
  if (!overlap(listener, ours)) return []
  const found = `${quote(listenerText(listener))}, but the tunnel itself uses ${listenerText(ours)} on both hosts`
  return [{ path, at: 'value', text: foundAllowed(found, 'other ports, or another tunnel.port') }]
}
