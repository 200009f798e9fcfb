/** `address: move`: which addresses can go over as a whole, as far as fleet.yaml tells. */
import { familyOf, type Ip } from '../../proto/model/address.js'
import { parseIp } from '../../proto/parse.js'
import { addressPairs, type PairedAddresses } from '../plan/addressing.js'
import { outerAddresses } from '../plan/tunnel-pair.js'
import { parseSshTarget } from '../ssh/ssh-target.js'
import type { Draft } from './draft.js'
import type { HostEntry, ServiceEntry } from './fleet-schema.js'
import { foundAllowed, type Problem } from './problem.js'

type Entry = Partial<ServiceEntry>

export function checkMovingAddresses(draft: Draft): Problem[] {
  return [...draft.services].flatMap(([name, service]) => {
    if (service.address !== 'move') return []
    const refuse = (found: string, allowed: string): Problem => ({
      path: ['services', name, 'address'],
      at: 'value',
      text: foundAllowed(found, allowed),
    })
    if (draft.tunnel.driver === 'direct')
      return [
        refuse(
          '"move" with tunnel.driver: direct',
          'a tunnel of our own: clients are forwarded until the address moves',
        ),
      ]
    const moved = (service.listen ?? []).find((each) => each.new !== undefined && each.new !== each.ports.from)
    if (moved)
      return [
        refuse(
          `"move", and a listener that is at port ${moved.new} on the new host`,
          'the same port as clients use: after finalize nothing translates it any more',
        ),
      ]
    const found = pairsOf(draft, service).flatMap((pair) => whyNot(draft, service, pair).slice(0, 1))
    return found.map(({ why, instead }) => refuse(`"move", but ${why}`, instead))
  })
}

function pairsOf(draft: Draft, service: Entry): PairedAddresses[] {
  const [before, after] = [draft.hosts.get(service.from ?? ''), draft.hosts.get(service.to ?? '')]
  if (!before?.addresses || !after?.addresses || !('addresses' in service)) return []
  return addressPairs({ addresses: service.addresses }, { addresses: before.addresses }, { addresses: after.addresses })
}

interface Refusal {
  why: string
  instead: string
}

function whyNot(draft: Draft, service: Entry, pair: PairedAddresses): Refusal[] {
  const address = pair.old.public
  const host = draft.hosts.get(service.from ?? '')!
  const refusals: Refusal[] = []
  const add = (why: string, instead: string): void => void refusals.push({ why, instead })

  for (const { public: known, local } of [pair.old, pair.new])
    if (local !== undefined && local !== known)
      add(
        `the provider translates ${known} to ${local}`,
        'an address that stands on the host itself; have the provider move this one',
      )
  if (sshAddress(host) === address)
    add(
      `${address} is where SSH goes (hosts.${service.from}.ssh)`,
      'an address that nothing but clients needs; let ssh: name another one',
    )
  const peer = tunnelPeer(draft, service.from ?? '', address)
  if (peer !== undefined)
    add(
      `${address} is this end of the tunnel to ${peer}, for it is the first of its family under hosts.${service.from}.addresses`,
      'another address there before it, one that stays',
    )
  const stays = host.addresses!.some(
    ({ public: other }) => familyOf(other) === pair.family && !isMoved(draft, service.from ?? '', other),
  )
  if (!stays)
    add(
      `hosts.${service.from}.addresses has no IPv${pair.family} address that stays`,
      'one more of them there: connections that stand are handed over to it',
    )
  for (const [name, other] of draft.services) {
    if (other === service) continue
    const same = pairsOf(draft, other).find((each) => [each.old.public, each.new.public].includes(address))
    if (!same) continue
    if (same.old.public !== address) add(`service ${name} moves to ${address}`, 'an address that no service moves to')
    else if (other.address !== 'move')
      add(
        `service ${name} is reached by ${address}, too, and stays behind`,
        `address: move there as well, or another address for one of them`,
      )
    else if (other.to !== service.to || same.new.public !== pair.new.public)
      add(
        `service ${name} moves ${address} elsewhere`,
        'one new host and one new address for all services of an address',
      )
  }
  return refusals
}

function sshAddress(host: Partial<HostEntry>): Ip | undefined {
  try {
    const parsed = parseIp(parseSshTarget(host.ssh ?? '').host)
    return parsed.ok ? parsed.value : undefined
  } catch {
    // The schema tells what is wrong with it.
    return undefined
  }
}

/** The host to which a tunnel's outer packets have this address. */
function tunnelPeer(draft: Draft, host: string, address: Ip): string | undefined {
  const publics = (name: string): { publicAddresses: Ip[] } => ({
    publicAddresses: (draft.hosts.get(name)?.addresses ?? []).map((each) => each.public),
  })
  const peers = [...draft.services.values()].flatMap(({ from, to }) =>
    from === host ? (to ?? []) : to === host ? (from ?? []) : [],
  )
  return peers.find((peer) => outerAddresses(publics(host), publics(peer))?.a === address)
}

const isMoved = (draft: Draft, host: string, address: Ip): boolean =>
  [...draft.services.values()].some(
    (service) =>
      service.address === 'move' &&
      service.from === host &&
      pairsOf(draft, service).some((pair) => pair.old.public === address),
  )
