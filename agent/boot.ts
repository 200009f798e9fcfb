/** Whether a unit starts with the host: changed when its service moves, and remembered as it was found. */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import type { Name } from '../proto/model/names.js'
import { type CommandEnd, type CommandOptions, runCommand, runCommandOutside } from './lifecycle.js'
import { paths } from './plan/own.js'

/** `boot-state` only asks; its output is what `systemctl is-enabled` says (systemctl(1) lists the words). */
export type BootAction = 'boot-state' | 'boot-on' | 'boot-off' | 'boot-as-found'

/** Service → its unit, and whether it was enabled before we changed that. */
type Found = Record<string, { unit: string; enabled: boolean }>

const file = `${paths.state}/units.json`

export async function controlBoot(
  service: Name,
  action: BootAction,
  unit: string,
  options: CommandOptions,
): Promise<CommandEnd> {
  if (action === 'boot-as-found') return asFound(service, options)
  const state = await runCommand(['systemctl', 'is-enabled', '--', unit], 'unit-is-enabled', options)
  // What is said before the last line is of another init's scripts.
  const word = state.output.split('\n').at(-1)!.trim()
  // It ends with 1 for "disabled" and its like, which is an answer.
  if (action === 'boot-state') return { ...state, ok: state.ended !== 'timeout', output: word }
  const found = await readFound()
  // Before the act: an agent that dies in between has changed nothing that it doesn't know of.
  if (!found[service]) await writeFound({ ...found, [service]: { unit, enabled: word === 'enabled' } })
  return setBoot(action === 'boot-on', unit, options)
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
