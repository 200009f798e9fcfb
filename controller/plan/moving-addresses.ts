/** Addresses that go over as a whole, with every service that clients reach by them (`address: move`). Pure. */
import { familyOf, type Ip } from '../../proto/model/address.js'
import {
  type AddressState,
  type HostSpec,
  isUnderWay,
  type MovedAddress,
  type Stage,
} from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'
import type { Fleet, Service } from '../config/fleet.js'
import { addressPairs } from './addressing.js'

export interface MovingAddress {
  address: Ip
  from: Name
  to: Name
  /** The new host's own address on the segment, that the services' mappings name. */
  own: Ip
  /** An address of the old host that stays. */
  stays: Ip
  /** The services that clients reach by it. */
  users: Service[]
}

/** In the fleet's order. Configuration has refused what doesn't fit together. */
export function movingAddresses(fleet: Fleet): MovingAddress[] {
  const found = new Map<Ip, MovingAddress>()
  for (const service of fleet.services.values()) {
    for (const pair of service.movesAddress ? pairsOf(fleet, service) : []) {
      const address = pair.old.public
      const known = found.get(address)
      if (known) known.users.push(service)
      else {
        const { from, to } = service
        found.set(address, { address, from, to, own: pair.new.public, stays: address, users: [service] })
      }
    }
  }
  for (const each of found.values()) {
    const others = fleet.hosts.get(each.from)!.addresses.map((address) => address.public)
    each.stays =
      others.find((ip) => familyOf(ip) === familyOf(each.address) && found.get(ip)?.from !== each.from) ?? each.stays
  }
  return [...found.values()]
}

const pairsOf = (fleet: Fleet, service: Service): ReturnType<typeof addressPairs> =>
  addressPairs(service, fleet.hosts.get(service.from)!, fleet.hosts.get(service.to)!)

/** This service, and all that share an address with it, directly or by way of others. */
export function companions(fleet: Fleet, service: Service): Service[] {
  const moving = movingAddresses(fleet)
  const group = new Set([service])
  for (const each of group)
    for (const { users } of moving) if (users.includes(each)) for (const user of users) group.add(user)
  return [...group]
}

export const addressesOf = (fleet: Fleet, services: readonly Service[]): MovingAddress[] =>
  movingAddresses(fleet).filter(({ users }) => users.some((user) => services.includes(user)))

/**
 * @param input.moving all of the fleet
 * @param held what the host has confirmed: an address that has settled stays so
 */
export function movedAddresses(
  input: {
    moving: readonly MovingAddress[]
    states: ReadonlyMap<Name, { stage: Stage; address?: AddressState }>
  },
  host: Name,
  held: HostSpec | undefined,
): MovedAddress[] {
  return input.moving
    .filter(({ from, to }) => from === host || to === host)
    .flatMap(({ address, from, own, stays, users }): MovedAddress[] => {
      const states = users.flatMap((user) => input.states.get(user.name) ?? [])
      const under = states.filter(({ stage }) => isUnderWay(stage))
      if (under.length === 0) {
        const settled = held?.addresses?.some((each) => each.address === address && each.as === 'settled')
        return settled || states.some((state) => state.address === 'moved') ? [{ address, as: 'settled' }] : []
      }
      if (under.every((state) => state.address === 'moved'))
        return [host === from ? { address, as: 'silent' } : { address, as: 'taken', own, aside: stays }]
      if (under.every((state) => state.address === undefined)) return []
      return [host === from ? { address, as: 'returned', aside: own } : { address, as: 'silent' }]
    })
}
