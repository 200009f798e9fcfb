import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { FleetmoveError } from '../../proto/model/error.js'
import { bootHosts, makeLinks, spawnInit } from './boot.js'
import { endProcesses } from './down.js'
import type { Accounts } from './host-files.js'
import { type Lab, labOf } from './lab.js'
import { labPreflight } from './preflight.js'
import { prepareHost } from './prepare-host.js'
import { hashPassword, makeKeys } from './secrets.js'
import {
  bootId,
  claimState,
  type LabState,
  liveness,
  ownIdentity,
  readState,
  removeState,
  stateDir,
  writeState,
} from './state.js'
import { hostNames, labTopology } from './topology.js'

export interface LabUpOptions {
  /** `[a-z0-9-]`, at most 32; `lab` if left away. Labs of different names run side by side. */
  name?: string
  /** How long the start may take, in milliseconds; 60,000 if left away. */
  timeoutMs?: number
}

/** A lab, and whether this call started it or found it running. */
export interface StartedLab extends Lab {
  readonly started: boolean
}

/**
 * Starts the practice network, or finds it running. If it can't be started, nothing is left of it.
 * Throws a preflight error if this machine can't carry it, `locked` if another process starts it now.
 */
export async function labUp(options: LabUpOptions = {}): Promise<StartedLab> {
  const { name = 'lab', timeoutMs = 60_000 } = options
  const running = alreadyThere(name)
  if (running) return running
  await labPreflight()
  const state: LabState = {
    name,
    bootId: bootId(),
    phase: 'starting',
    maker: ownIdentity(),
    hosts: {},
    opsPassword: randomBytes(9).toString('base64url'),
    startedAt: new Date().toISOString(),
  }
  while (!(await claimState(state))) {
    const meanwhile = alreadyThere(name)
    if (meanwhile) return meanwhile
    const dead = readState(name)
    if (dead) await endProcesses(dead)
    await removeState(name, dead)
  }
  try {
    await start(state, timeoutMs)
  } catch (error) {
    await endProcesses(state)
    await removeState(name, state)
    throw error
  }
  return { ...labOf(state), started: true }
}

/** The lab if it runs; undefined if there is none, or a dead one. Throws if another process starts it. */
function alreadyThere(name: string): StartedLab | undefined {
  const state = readState(name)
  if (!state) return undefined
  const life = liveness(state)
  if (life === 'starting')
    throw new FleetmoveError('locked', {
      message: `the practice network "${name}" is being started by process ${state.maker.pid}`,
      hint: 'Wait until that is done',
    })
  return life === 'up' ? { ...labOf(state), started: false } : undefined
}

async function start(state: LabState, timeoutMs: number): Promise<void> {
  const init = await spawnInit(state.name)
  // Whatever happens to it shows as a host that doesn't come; the pipe to it may break meanwhile.
  init.stdin.on('error', () => {})
  try {
    const making = [makeKeys(stateDir(state.name)), hashPassword(state.opsPassword)] as const
    await allEnded([...making, bootHosts(init, state, timeoutMs)])
    const [keys, opsHash] = await Promise.all(making)
    await makeLinks(state)
    const accounts: Accounts = {
      passwd: readFileSync('/etc/passwd', 'utf8'),
      shadow: readFileSync('/etc/shadow', 'utf8'),
      group: readFileSync('/etc/group', 'utf8'),
      opsHash,
    }
    await allEnded(hostNames(labTopology).map((host) => prepareHost(state, host, keys, accounts, timeoutMs)))
    await writeState({ ...state, phase: 'up' })
    state.phase = 'up'
    await new Promise<void>((resolve) => init.stdin.end('up\n', () => resolve()))
  } finally {
    // Otherwise this process couldn't end before the lab does.
    for (const pipe of [init.stdin, init.stdout, init.stderr]) pipe.destroy()
    init.unref()
  }
}

/** Waits for all, then throws the first failure: whoever clears up must not meet work that goes on. */
async function allEnded(work: readonly Promise<unknown>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') throw result.reason
}
