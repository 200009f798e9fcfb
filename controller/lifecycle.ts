/** Starting, stopping and asking after a service's process, on the host where its agent does it. */
import type * as wire from '../proto/gen/fleetmove.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import type { Service } from './config/fleet.js'
import { servicePairs } from './plan/host-specs.js'
import { timed } from './progress.js'
import { agentOf, type World } from './world.js'

/** A start that takes longer than this is taken for one that hangs. */
const lifecycleMs = 120_000
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
  if (!service.lifecycle) return
  const { kind: _kind, ...means } = service.lifecycle
  await perform(world, service, action, host, { ...noLifecycle, ...means })
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
  await timed(world.progress, service.name, `${action} on ${host}`, async () => {
    const reply = await agentOf(world, host).lifecycle({
      service: service.name,
      action,
      lifecycle,
      environment: {
        FLEETMOVE_FLEET: world.fleet.name,
        FLEETMOVE_FROM: service.from,
        FLEETMOVE_TO: service.to,
        FLEETMOVE_HOST: host,
      },
      timeoutMs: lifecycleMs,
    })
    if (reply.ok) return
    const output = reply.output.trim()
    throw new FleetmoveError('health', {
      message: `${action} of ${service.name} failed (${reply.ended})${output ? `: ${output}` : ''}`,
      hint: `run it by hand on ${host}, mend it, and run the command again`,
      host,
    })
  })
}

/** @throws FleetmoveError 'health' with the last failure, when the service isn't healthy in time. */
export async function awaitHealth(
  world: World,
  service: Service,
  host: Name,
  { quiet, withinMs }: { quiet: boolean; withinMs: number } = { quiet: false, withinMs: healthMs },
): Promise<void> {
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
      timeoutMs: withinMs,
    })
    if (reply.healthy) return
    throw new FleetmoveError('health', {
      message: `${service.name} isn't healthy within ${(withinMs / 1000).toFixed(withinMs < 10_000 ? 1 : 0)} s: ${reply.detail}`,
      hint: `look at the service on ${host}; correct health: in fleet.yaml if the check is wrong`,
      host,
    })
  }
  const checkAll = async (): Promise<void> => {
    if (health.kind !== 'tcp') return check('', 0)
    const side = host === service.from ? 'old' : 'new'
    const ends = service.listen.flatMap((listener) => {
      if (listener.protocol !== 'tcp') return []
      const port = listener[`${side}Port`] ?? listener.ports.from
      return servicePairs(world, service).map((pair) => ({ address: pair[side], port }))
    })
    // One that fails is enough to know.
    await Promise.all(ends.map(({ address, port }) => check(address, port)))
  }
  if (quiet) await checkAll()
  else await timed(world.progress, service.name, `health on ${host}`, checkAll)
}
