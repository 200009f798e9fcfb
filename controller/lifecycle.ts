/** Starting, stopping and asking after a service's process, on the host where its agent does it. */
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import type { Service } from './config/fleet.js'
import { servicePairs } from './plan/host-specs.js'
import { timed } from './progress.js'
import { agentOf, type World } from './world.js'

/** A start that takes longer than this is taken for one that hangs. */
const lifecycleMs = 120_000
const healthMs = 30_000

/**
 * Does nothing for a service without a lifecycle: its operator runs it on both sides.
 * @throws FleetmoveError 'health' with what the command printed.
 */
export async function runLifecycle(
  world: World,
  service: Service,
  action: 'start' | 'stop',
  host: Name,
): Promise<void> {
  const { lifecycle } = service
  if (!lifecycle) return
  await timed(world.progress, service.name, `${action} on ${host}`, async () => {
    const reply = await agentOf(world, host).lifecycle({
      service: service.name,
      action,
      lifecycle: {
        unit: lifecycle.kind === 'unit' ? lifecycle.unit : '',
        container: lifecycle.kind === 'container' ? lifecycle.container : '',
        start: lifecycle.kind === 'run' ? lifecycle.start : '',
        stop: lifecycle.kind === 'run' ? lifecycle.stop : '',
      },
      environment: {
        FLEETMOVE_FLEET: world.fleet.name,
        FLEETMOVE_FROM: service.from,
        FLEETMOVE_TO: service.to,
        FLEETMOVE_HOST: host,
      },
      timeoutMs: lifecycleMs,
    })
    if (reply.ok) return
    throw new FleetmoveError('health', {
      message: `${action} of ${service.name} failed (${reply.ended})${reply.output.trim() ? `: ${reply.output.trim()}` : ''}`,
      hint: `run it by hand on ${host}, mend it, and run the command again`,
      host,
    })
  })
}

/** @throws FleetmoveError 'health' with the last failure, when the service isn't healthy in time. */
export async function awaitHealth(world: World, service: Service, host: Name): Promise<void> {
  const { health } = service
  const agent = agentOf(world, host)
  const check = async (address: string, port: number): Promise<void> => {
    const reply = await agent.health({
      service: service.name,
      kind: health.kind,
      url: health.kind === 'http' ? health.url : '',
      command: health.kind === 'command' ? health.command : '',
      address,
      port,
      timeoutMs: healthMs,
    })
    if (reply.healthy) return
    throw new FleetmoveError('health', {
      message: `${service.name} isn't healthy within ${healthMs / 1000} s: ${reply.detail}`,
      hint: `look at the service on ${host}; correct health: in fleet.yaml if the check is wrong`,
      host,
    })
  }
  await timed(world.progress, service.name, `health on ${host}`, async () => {
    if (health.kind !== 'tcp') return check('', 0)
    for (const listener of service.listen) {
      if (listener.protocol !== 'tcp') continue
      const port = (host === service.from ? listener.oldPort : listener.newPort) ?? listener.ports.from
      for (const pair of servicePairs(world, service)) await check(host === service.from ? pair.old : pair.new, port)
    }
  })
}
