import type { ChildProcess } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FleetmoveError } from '../../proto/model/error.js'
import { type ChangedFile, compareScans, type FileScan, type HostTrees, scanHost } from './changed-files.js'
import { type ExecOptions, type ExecResult, execInside, type SpawnOptions, spawnInside } from './exec.js'
import { hostStateScript } from './host-state.js'
import { cutCommands } from './network.js'
import { isAlive } from './process.js'
import { rebootHost } from './reboot.js'
import { type LabState, liveness, readState, stateDir } from './state.js'
import { type LabTopology, labTopology } from './topology.js'

/** A running practice network. Hosts are called by their names in vagrant/topology.json. */
export interface Lab {
  readonly name: string
  readonly topology: LabTopology
  /** The password that sudo asks of the user `ops`. */
  readonly opsPassword: string
  /** Runs a command in a host to its end: as root, in /root, without a shell. */
  exec(host: string, argv: readonly string[], options?: ExecOptions): Promise<ExecResult>
  /** Starts a command in a host. `kill` signals the command and its children. */
  spawn(host: string, argv: readonly string[], options?: SpawnOptions): ChildProcess
  /** The machine's pid of a host's first process: its namespaces are in /proc/PID/ns, its files in /proc/PID/root. */
  pid(host: string): number
  /** What differs from the host's files as `lab up` left them, /run and /tmp included, sorted by path. */
  changedFiles(host: string): Promise<ChangedFile[]>
  /** The host's links, addresses, routes, rules, nft rules, network sysctls and process names, as text to compare. */
  hostState(host: string): Promise<string>
  /** Drops, at the router, everything between two hosts of different subnets. */
  cut(one: string, other: string): Promise<void>
  /** Undoes `cut`. */
  heal(one: string, other: string): Promise<void>
  /** Takes a host's power away and boots it again: its disk is kept, and nothing else. */
  reboot(host: string): Promise<void>
}

/** The handle of a lab that runs. Throws if it doesn't. */
export function openLab(name: string): Lab {
  const state = readState(name)
  if (!state || liveness(state) !== 'up')
    throw new FleetmoveError('preflight', {
      message: `the practice network "${name}" doesn't run`,
      hint: `fleetmove lab up --name ${name}`,
    })
  return labOf(state)
}

/** Runs a command in a host of the lab called `name`; see `Lab.exec`. */
export async function labExec(
  name: string,
  host: string,
  argv: readonly string[],
  options?: ExecOptions,
): Promise<ExecResult> {
  return openLab(name).exec(host, argv, options)
}

/** The file in the state directory that holds a host's files as `lab up` left them. */
export function baselineFile(lab: string, host: string): string {
  return join(stateDir(lab), `baseline-${host}.json`)
}

/** Where a host's own files lie. They are mounted in the lab's namespaces only, so the way is by /proc. */
export function hostTrees(state: LabState, host: string): HostTrees {
  const lower = `/proc/${state.init?.pid}/root`
  return {
    lower,
    upper: join(lower, stateDir(state.name), 'fs', host, 'upper'),
    root: `/proc/${hostPid(state, host)}/root`,
  }
}

/** The handle of a lab from its state. */
export function labOf(state: LabState): Lab {
  const exec: Lab['exec'] = async (host, argv, options) => execInside(hostPid(state, host), host, argv, options)
  const shell = async (host: string, script: string, input?: string): Promise<string> => {
    const result = await exec(host, ['sh', '-c', script], input === undefined ? {} : { input })
    if (result.code !== 0)
      throw new FleetmoveError('internal', { message: result.stderr.trim() || `exit code ${result.code}`, host })
    return result.stdout
  }
  const setCut = async (verb: 'add' | 'delete', one: string, other: string) => {
    const subnets = [one, other].map((name) => labTopology.hosts[name]?.subnet)
    if (subnets.includes(undefined) || subnets[0] === subnets[1])
      throw new FleetmoveError('usage', { message: `${one} and ${other} don't meet at the router` })
    // nft can't read what Node calls a pipe (a socket pair), so cat makes a real one.
    await shell(labTopology.router, 'cat | nft -f -', cutCommands(labTopology, verb, one, other))
  }
  return {
    name: state.name,
    topology: labTopology,
    opsPassword: state.opsPassword,
    exec,
    spawn: (host, argv, options) => spawnInside(hostPid(state, host), argv, options),
    pid: (host) => hostPid(state, host),
    async changedFiles(host) {
      const trees = hostTrees(state, host)
      const before = JSON.parse(await readFile(baselineFile(state.name, host), 'utf8')) as FileScan
      return compareScans(before, await scanHost(trees), trees)
    },
    hostState: (host) => shell(host, hostStateScript),
    cut: (one, other) => setCut('add', one, other),
    heal: (one, other) => setCut('delete', one, other),
    reboot: (host) => rebootHost(state, host),
  }
}

function hostPid(state: LabState, host: string): number {
  const process = state.hosts[host]
  if (!process)
    throw new FleetmoveError('usage', {
      message: `the practice network has no host "${host}"`,
      hint: `Its hosts are ${Object.keys(state.hosts).join(', ')}`,
    })
  // The pid may be somebody else's by now.
  if (!isAlive(process))
    throw new FleetmoveError('unreachable', {
      message: "the practice host's first process is gone",
      host,
      hint: `fleetmove lab down --name ${state.name} && fleetmove lab up --name ${state.name}`,
    })
  return process.pid
}
