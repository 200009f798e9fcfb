/** Starting, stopping and asking after a service's process, on the host where its agent does it. */
import type * as wire from '../proto/gen/fleetmove.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import type { Service } from './config/fleet.js'
import { servicePairs } from './plan/host-specs.js'
import { timed } from './progress.js'
import { agentOf, type World } from './world.js'

/** A start that takes longer than this is taken for one that hangs. */
export const lifecycleMs = 120_000
/** The longest that a service's health is waited for. */
export const healthMs = 30_000

const noLifecycle = {
  ...{ unit: '', container: '', composeFile: '', composeService: '' },
  ...{ start: '', stop: '', command: '' },
}

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
  if (service.lifecycle) await perform(world, service, action, host, lifecycleOf(service))
}

/**
 * Whether a unit starts with the host, or changes that.
 * @returns what the host said: `enabled`, `disabled`, …
 * @throws FleetmoveError 'health' with what the command printed.
 */
export async function askBoot(
  world: World,
  service: Service,
  action: 'boot-state' | 'boot-on' | 'boot-off' | 'boot-as-found',
  host: Name,
): Promise<string> {
  if (service.lifecycle?.kind !== 'unit') return ''
  const { unit } = service.lifecycle
  const lifecycle = { ...noLifecycle, unit }
  const request = { service: service.name, action, lifecycle, environment: {}, timeoutMs: lifecycleMs }
  const { ok, ended, output } = await agentOf(world, host).lifecycle(request)
  if (ok) return output.trim()
  throw new FleetmoveError('health', { message: `${action} of ${unit} failed (${ended}): ${output.trim()}`, host })
}

export type Hook = 'before_move' | 'after_move' | 'on_rollback'

/**
 * Runs a hook, if the service has it.
 * @throws FleetmoveError 'health' with what it printed.
 */
export async function runHook(world: World, service: Service, hook: Hook, host: Name): Promise<void> {
  const { beforeMove, afterMove, onRollback } = service.hooks
  const command = { before_move: beforeMove, after_move: afterMove, on_rollback: onRollback }[hook]
  if (command !== undefined) await perform(world, service, hook, host, { ...noLifecycle, command })
}

async function perform(
  world: World,
  service: Service,
  action: 'start' | 'stop' | Hook,
  host: Name,
  lifecycle: wire.Lifecycle,
): Promise<void> {
  const environment = environmentOf(world, service, host)
  const request = { service: service.name, action, lifecycle, environment, timeoutMs: lifecycleMs }
  await timed(world.progress, service.name, `${action} on ${host}`, async () =>
    refuseFailure(service, action, host, await agentOf(world, host).lifecycle(request)),
  )
}

/** What the commands of fleet.yaml are told. */
export const environmentOf = (world: World, service: Service, host: Name): Record<string, string> => ({
  FLEETMOVE_FLEET: world.fleet.name,
  FLEETMOVE_FROM: service.from,
  FLEETMOVE_TO: service.to,
  FLEETMOVE_HOST: host,
})

/** How the service is started and stopped; nothing is done where its operator does that. */
export function lifecycleOf({ lifecycle }: Service): wire.Lifecycle {
  if (!lifecycle) return noLifecycle
  const { kind: _kind, ...means } = lifecycle
  return { ...noLifecycle, ...means }
}

/** @throws FleetmoveError 'health' with what the command printed. */
export function refuseFailure(service: Service, action: string, host: Name, reply: wire.LifecycleReply): void {
  if (reply.ok) return
  const output = reply.output.trim()
  throw new FleetmoveError('health', {
    message: `${action} of ${service.name} failed (${reply.ended})${output ? `: ${output}` : ''}`,
    hint: `run it by hand on ${host}, mend it, and run the command again`,
    host,
  })
}

/** @throws FleetmoveError 'health' with the last failure, when the service isn't healthy in time. */
export async function awaitHealth(
  world: World,
  service: Service,
  host: Name,
  { quiet, withinMs }: { quiet: boolean; withinMs: number } = { quiet: false, withinMs: healthMs },
): Promise<void> {
  const agent = agentOf(world, host)
  const checkAll = async (): Promise<void> => {
    const checks = healthChecks(world, service, host)
    const replies = await Promise.all(checks.map((each) => agent.health({ ...each, timeoutMs: withinMs })))
    // All had the same time: the first in fleet.yaml's order is told, whichever gave up first.
    const failed = replies.find(({ healthy }) => !healthy)
    if (!failed) return
    throw new FleetmoveError('health', {
      message: `${service.name} isn't healthy within ${(withinMs / 1000).toFixed(withinMs < 10_000 ? 1 : 0)} s: ${failed.detail}`,
      hint: `look at the service on ${host}; correct health: in fleet.yaml if the check is wrong`,
      host,
    })
  }
  if (quiet) await checkAll()
  else await timed(world.progress, service.name, `health on ${host}`, checkAll)
}

/** What must pass where the service runs: by its own check, or a connection to each of its listeners. */
export function healthChecks(world: World, service: Service, host: Name): wire.HealthRequest[] {
  const { health } = service
  const check = {
    ...{ service: service.name, kind: health.kind, timeoutMs: 0, address: '', port: 0 },
    url: health.kind === 'http' ? health.url : '',
    command: health.kind === 'command' ? health.command : '',
  }
  if (health.kind !== 'tcp') return [check]
  const side = host === service.from ? 'old' : 'new'
  return service.listen.flatMap((listener) => {
    if (listener.protocol !== 'tcp') return []
    const port = listener[`${side}Port`] ?? listener.ports.from
    return servicePairs(world, service).map((pair) => ({ ...check, address: pair[side], port }))
  })
}
