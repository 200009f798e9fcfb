/**
 * The agent's unit is a sandbox; what operators name in fleet.yaml, and their files, are not for it. So such
 * programs run as transient services that systemd itself starts: outside, with a service's usual limits and
 * rights, and not as children of the agent, which may be restarted meanwhile. See systemd-run(1).
 */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { runTool } from './tool.js'

/** systemd is the init that runs: sd_booted(3). */
export const systemdRuns = (): boolean => existsSync('/run/systemd/system')

export interface OutsideOptions {
  /** The unit's name, without its kind. */
  unit: string
  /** It can be read by everybody: no secrets. */
  environment?: Readonly<Record<string, string>>
  description?: string
}

/**
 * The command line that runs another one outside of the sandbox, with the caller's standard streams, to its
 * end, and ends with its exit code; the very same command line where systemd isn't init, since there
 * is no sandbox then.
 */
export function outside(argv: readonly string[], options: OutsideOptions): string[] {
  const { unit, environment = {}, description = `fleetmove: ${argv[0]}` } = options
  if (!systemdRuns()) return [...argv]
  return [
    ...['systemd-run', '--wait', '--pipe', '--collect', '--quiet', '--service-type=exec'],
    // What it leaves behind, for example what waits for the agent's end, is no reason to wait or to fail.
    ...[`--unit=${unit}`, `--description=${description}`, '--property=KillMode=process'],
    ...Object.entries(environment).map(([key, value]) => `--setenv=${key}=${value}`),
    // systemd.service(5): it would put the environment's values in.
    ...['--', ...argv.map((word) => word.replaceAll('$', '$$$$'))],
  ]
}

/** Runs a tool of the host outside of the sandbox, for what it writes there. Throws as `runTool` does. */
export function runOutside(tool: string, args: readonly string[]): Promise<string> {
  const unit = `fleetmove-${tool}-${randomBytes(4).toString('hex')}`
  const [command, ...rest] = outside([tool, ...args], { unit })
  return runTool(command!, rest)
}
