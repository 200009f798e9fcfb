/** `address: move`: the old address goes to the new host when the service has moved, and back before it does. */
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import { change } from './change.js'
import type { Service } from './config/fleet.js'
import { drain } from './drain.js'
import type { ServiceState } from './plan/host-specs.js'
import { addressesOf, companions } from './plan/moving-addresses.js'
import { assertVerified, verifyServices } from './verify.js'
import type { World } from './world.js'

/** Nothing is left to be done for this service by `advance`. */
export const isThere = (world: World, service: Service): boolean => {
  const state = world.states.get(service.name)
  return state?.stage === 'moved' && (!service.movesAddress || state.address === 'moved')
}

/**
 * Takes over the service's old addresses once every service that is reached by them has moved.
 * @returns the addresses; none while another service is behind
 * @throws FleetmoveError 'rolled-back' when the addresses stay: then the old host forwards as before
 */
export async function takeOver(world: World, service: Service): Promise<string[]> {
  if (!service.movesAddress || world.states.get(service.name)?.address === 'moved') return []
  const together = companions(world.fleet, service)
  const moving = addressesOf(world.fleet, together)
  const names = moving.map(({ address }) => address)
  const behind = together.filter((each) => world.states.get(each.name)?.stage !== 'moved')
  if (behind.length > 0) {
    world.progress.note(
      service.name,
      `${names.join(', ')} goes over when ${behind.map(({ name }) => name).join(', ')} has moved, too`,
    )
    return []
  }
  const begun = performance.now()
  const end = world.progress.begin(service.name, `take ${names.join(', ')} over to ${service.to}`)
  try {
    await change(world, {
      states: withAddress(world, together, 'moved'),
      // It keeps silent before the other one is announced, or it might be believed last.
      first: moving.map(({ from }) => from),
      check: async (wanted) => {
        end(`${(performance.now() - begun).toFixed(0)} ms`)
        assertVerified(await verifyServices(world, together, wanted), 'the address was given back')
      },
    })
    return names
  } catch (cause) {
    end('failed')
    const known = cause instanceof FleetmoveError ? cause : undefined
    throw new FleetmoveError('rolled-back', {
      message: `${names.join(', ')} stays on ${service.from}, which forwards to ${service.to}: ${(cause as Error).message}`,
      hint: `${known?.hint ?? 'mend the cause'}; then advance takes it over, and rollback brings the service back`,
      ...(known?.host === undefined ? {} : { host: known.host }),
      cause,
    })
  }
}

/**
 * Gives the service's old addresses back. The old host answers for them again and forwards, so new clients notice
 * nothing; connections that were opened straight to the new host are handed over to it until they end or the
 * drain is over.
 * @returns how many of them are cut
 */
export async function giveBack(world: World, service: Service): Promise<number> {
  if (!service.movesAddress) return 0
  const together = companions(world.fleet, service).filter((each) => world.states.get(each.name)?.address !== undefined)
  if (together.length === 0) return 0
  const moving = addressesOf(world.fleet, together)
  const names = moving.map(({ address }) => address)
  const end = world.progress.begin(service.name, `give ${names.join(', ')} back to ${service.from}`)
  try {
    // Receiver before sender: it answers for them again before the other one stops.
    await change(world, { states: withAddress(world, together, 'returning'), first: moving.map(({ from }) => from) })
    end('')
  } catch (error) {
    end('failed')
    throw error
  }
  const left = await Promise.all(together.map((each) => drain(world, each, each.to, { addresses: names })))
  await change(world, { states: withAddress(world, together, undefined) })
  return left.reduce((sum, each) => sum + each, 0)
}

function withAddress(
  world: World,
  services: readonly Service[],
  address: ServiceState['address'],
): Map<Name, ServiceState> {
  return new Map(
    services.map(({ name }) => {
      const { address: _before, ...state } = world.states.get(name)!
      return [name, { ...state, ...(address ? { address } : {}) }]
    }),
  )
}
