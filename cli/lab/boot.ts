import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { FleetmoveError } from '../../proto/model/error.js'
import { hostScript, initScript } from './boot-scripts.js'
import { collect, hostEnvironment } from './exec.js'
import { linkBatch } from './network.js'
import { identify, type ProcessId } from './process.js'
import { type LabState, stateDir, writeState } from './state.js'
import { hasNode, hostNames, labTopology } from './topology.js'
import { visibleTrees } from './visible-trees.js'

/** Starts the lab's first process, unshare(1) around it; see boot-scripts.ts for what it says and awaits. */
export async function spawnInit(lab: string): Promise<ChildProcessWithoutNullStreams> {
  const dir = stateDir(lab)
  await writeFile(join(dir, 'host.sh'), hostScript)
  const withNode = hostNames(labTopology).filter((name) => hasNode(labTopology, name))
  const nodeless = hostNames(labTopology).filter((name) => !hasNode(labTopology, name))
  return spawn(
    'unshare',
    [
      '--mount --pid --net --uts --ipc --fork --kill-child sh -c'.split(' '),
      [initScript, 'fleetmove-lab', dir, withNode.join(' '), nodeless.join(' '), ...visibleTrees()],
    ].flat(),
    { env: hostEnvironment(), stdio: 'pipe', detached: true },
  )
}

/** Waits until every host's first process has reported, and notes all identities in the state. */
export async function bootHosts(init: ChildProcess, state: LabState, timeoutMs: number): Promise<void> {
  const names = hostNames(labTopology)
  let complaints = ''
  let noted = Promise.resolve()
  init.stderr?.on('data', (chunk: Buffer) => {
    complaints += chunk.toString()
  })
  await new Promise<void>((resolve, reject) => {
    const fail = (why: string) => {
      clearTimeout(timer)
      reject(
        new FleetmoveError('internal', {
          message: `the practice network doesn't start: ${why}${complaints ? `: ${complaints.trim()}` : ''}`,
        }),
      )
    }
    const timer = setTimeout(() => {
      const missing = names.filter((name) => !state.hosts[name])
      fail(`no word from ${missing.join(', ')} within ${timeoutMs} ms`)
    }, timeoutMs)
    init.on('error', (error) => fail(error.message))
    init.on('exit', (code, signal) => fail(`its first process ended with ${code ?? signal}`))
    if (init.pid !== undefined) setIdentity(init.pid, (id) => (state.launcher = id))
    createInterface({ input: init.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const words = line.split(' ')
      const pid = Number(words.at(-1))
      if (words[0] === 'init') {
        setIdentity(pid, (id) => (state.init = id))
        // As early as can be: whoever finds this lab after our death knows what to end.
        noted = writeState(state).catch((error: Error) => fail(error.message))
      } else if (words[0] === 'host' && words[1]) {
        const host = words[1]
        setIdentity(pid, (id) => (state.hosts[host] = id))
        if (names.every((name) => state.hosts[name])) {
          clearTimeout(timer)
          resolve()
        }
      } else if (words[0] === 'lost') fail(`${words[1]} doesn't boot`)
      else complaints += `${line}\n`
    })
  }).finally(() => noted)
}

function setIdentity(pid: number, set: (id: ProcessId) => void): void {
  const id = identify(pid)
  if (id) set(id)
}

/** The devices at both ends, made by the lab's init's namespace: the machine's own never sees them. */
export async function makeLinks(state: LabState): Promise<void> {
  const pids = new Map(Object.entries(state.hosts).map(([name, id]) => [name, id.pid]))
  const made = await collect(
    spawn('nsenter', ['-t', String(state.init?.pid), '-n', 'ip', '-batch', '-'], { env: hostEnvironment() }),
    { input: linkBatch(labTopology, pids), what: 'ip link add' },
  )
  if (made.code !== 0)
    throw new FleetmoveError('kernel', { message: `the practice network's links: ${made.stderr.trim()}` })
}
