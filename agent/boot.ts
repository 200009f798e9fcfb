/** What starts with the host: of a unit changed when its service moves, and remembered as it was found. */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { FleetmoveError } from '../proto/model/error.js'
import type { Name } from '../proto/model/names.js'
import {
  type CommandEnd,
  type CommandOptions,
  composeTool,
  containerTool,
  type LifecycleMeans,
  runCommand,
  runCommandOutside,
} from './lifecycle.js'
import { paths } from './plan/own.js'

/** `boot-state` only asks; its output is what `systemctl is-enabled` says (systemctl(1) lists the words). */
export type BootAction = 'boot-state' | 'boot-on' | 'boot-off' | 'boot-as-found'

/** Service → its unit, whether it was enabled before we changed that, and whether it would be but for the gap. */
type Found = Record<string, { unit: string; enabled: boolean; held?: boolean }>

const file = `${paths.state}/units.json`

export async function controlBoot(
  service: Name,
  action: BootAction,
  unit: string,
  options: CommandOptions,
): Promise<CommandEnd> {
  if (action === 'boot-as-found') return asFound(service, options)
  const state = await isEnabled(unit, options)
  const { [service]: own, ...others } = await readFound()
  if (action === 'boot-state') return own?.held ? { ...state, output: 'enabled' } : state
  // Before the act: an agent that dies in between has changed nothing that it doesn't know of.
  const enabled = own?.enabled ?? state.output === 'enabled'
  if (!own || own.held) await writeFound({ ...others, [service]: { unit, enabled } })
  return setBoot(action === 'boot-on', unit, options)
}

/**
 * A unit that starts with its host doesn't for the gap of its service: a host that loses its power in it would start
 * the service, though it may run on the other one by then. Whoever has it in the end is told by the controller, or
 * has it back by `releaseBoot`.
 * @throws Error with what systemctl said
 */
export async function holdBoot(service: Name, unit: string, options: CommandOptions): Promise<void> {
  if ((await isEnabled(unit, options)).output !== 'enabled') return
  const { [service]: own, ...others } = await readFound()
  await writeFound({ ...others, [service]: { unit, enabled: own?.enabled ?? true, held: true } })
  succeeded(await setBoot(false, unit, options))
  // A power cut takes along what the disk hasn't got yet, and nobody waits for it now (sync(1)).
  succeeded(await runCommand(['sync', '-f', paths.state, '/etc'], 'unit-sync', options))
}

/** The service stays here. Nothing where `holdBoot` had nothing to do. */
export async function releaseBoot(service: Name, unit: string, options: CommandOptions): Promise<void> {
  const { [service]: own, ...others } = await readFound()
  if (!own?.held) return
  succeeded(await setBoot(true, unit, options))
  await writeFound({ ...others, [service]: { unit, enabled: own.enabled } })
}

function succeeded({ ok, output }: CommandEnd): void {
  if (!ok) throw new Error(output)
}

/** Its output is the word. */
async function isEnabled(unit: string, options: CommandOptions): Promise<CommandEnd> {
  const state = await runCommand(['systemctl', 'is-enabled', '--', unit], 'unit-is-enabled', options)
  // It ends with 1 for "disabled" and its like, which is an answer; what is said before the last line is of another
  // init's scripts.
  return { ...state, ok: state.ended !== 'timeout', output: state.output.split('\n').at(-1)!.trim() }
}

async function asFound(service: Name, options: CommandOptions): Promise<CommandEnd> {
  const { [service]: own, ...others } = await readFound()
  if (!own) return { ok: true, ended: '0', output: '' }
  const end = await setBoot(own.enabled, own.unit, options)
  if (end.ok) await writeFound(others)
  return end
}

/** Without --now nothing starts or stops. */
const setBoot = (on: boolean, unit: string, options: CommandOptions): Promise<CommandEnd> =>
  // For a unit with an old init script beside it systemctl itself writes in /etc.
  runCommandOutside(['systemctl', on ? 'enable' : 'disable', '--', unit], `unit-${on ? 'enable' : 'disable'}`, options)

async function readFound(): Promise<Found> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Found
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw error
  }
}

async function writeFound(found: Found): Promise<void> {
  if (Object.keys(found).length === 0) return rm(file, { force: true })
  await mkdir(paths.state, { recursive: true, mode: 0o700 })
  await writeFile(`${file}.new`, JSON.stringify(found), { mode: 0o600 })
  await rename(`${file}.new`, file)
}

/**
 * For a service that must never run twice: an engine starts a container whose policy is `always` with the host, though
 * it was stopped (docker-run(1), --restart).
 * @throws FleetmoveError 'conflict' that names it
 */
export async function refuseRestartedAlways(
  service: Name,
  means: LifecycleMeans,
  options: CommandOptions,
): Promise<void> {
  const [name] = await restartedAlways(means, options)
  if (name === undefined) return
  throw new FleetmoveError('conflict', {
    message: `the container ${name} of ${service} is restarted always: its engine would start it with the host, though ${service} is on the other host by then`,
    hint: `${containerTool()} update --restart unless-stopped ${name}${means.kind === 'compose' ? `, and the same in ${means.file}` : ''}; then run the command again`,
  })
}

async function restartedAlways(means: LifecycleMeans, options: CommandOptions): Promise<string[]> {
  if (means.kind !== 'container' && means.kind !== 'compose') return []
  let names = means.kind === 'container' ? [means.container] : []
  if (means.kind === 'compose') {
    const argv = [...(await composeTool(options)), '--file', means.file, 'ps', '-q', means.composeService]
    const { ok, output } = await runCommandOutside(argv, 'compose-ps', options)
    if (ok) names = output.split(/\s+/).filter((word) => /^[0-9a-f]{12,}$/.test(word))
  }
  if (names.length === 0) return []
  const format = '{{.HostConfig.RestartPolicy.Name}} {{.Name}}'
  const argv = [containerTool(), 'inspect', '--type', 'container', '--format', format, '--', ...names]
  const { output } = await runCommandOutside(argv, 'restart-policy', options)
  // Docker begins names with a slash.
  return output.split('\n').flatMap((line) => /^always \/?(\S+)$/.exec(line.trim())?.[1] ?? [])
}
