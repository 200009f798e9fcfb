/** An upstream balancer that has both hosts behind it is made to leave one of them by itself. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Name } from '../proto/model/names.js'
import type { Service } from './config/fleet.js'
import { setState } from './move-state.js'
import type { ServiceState } from './plan/host-specs.js'
import { agentOf, type World } from './world.js'

const pollMs = 250
/** Nobody opens a connection for so long: some balancers take three checks of two seconds to notice. */
const quietMs = 6000

/**
 * Where the service has a `check`: refuses it on `origin`, and waits until no new connections come there, at
 * most for the service's `drain`.
 * @returns what every later state must hold until the service has left the host
 */
export async function goDark(
  world: World,
  service: Service,
  origin: Name,
  state: ServiceState,
): Promise<Pick<ServiceState, 'dark'>> {
  if (service.check === undefined) return {}
  await setState(world, service, { ...state, dark: origin })
  const begun = Date.now()
  const end = world.progress.begin(service.name, `tcp/${service.check} is refused on ${origin}: the balancer leaves it`)
  let last = await opened(world, service, origin)
  let since = begun
  while (Date.now() - since < quietMs && Date.now() - begun < service.drainMs) {
    await delay(pollMs)
    const now = await opened(world, service, origin)
    if (now !== last) [last, since] = [now, Date.now()]
  }
  const quiet = Date.now() - since
  end(
    quiet >= quietMs
      ? `no new connections for ${quietMs / 1000} s`
      : `new connections still come after ${service.drainMs / 1000} s; ${origin} goes on answering them`,
  )
  return { dark: origin }
}

/** Connections that clients have opened by the host's own addresses. */
async function opened(world: World, service: Service, host: Name): Promise<number> {
  const { services } = await agentOf(world, host).status(0)
  const found = services.find((each) => each.name === service.name)
  return (found?.forwarded ?? 0) + (found?.served ?? 0)
}
