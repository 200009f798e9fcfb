import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { FleetmoveError } from '../../proto/model/error.js'
import { hostScript, initScript } from './boot-scripts.js'
import { scanHost } from './changed-files.js'
import { endProcesses } from './down.js'
import { collect, execInside, hostEnvironment } from './exec.js'
import { type Accounts, bigFile, type HostFile, hostFiles, type LabKeys } from './host-files.js'
import { baselineFile, hostTrees, type Lab, labOf } from './lab.js'
import { hostNetworkScript, linkBatch, routerNetworkScript } from './network.js'
import { labPreflight } from './preflight.js'
import { identify, type ProcessId } from './process.js'
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
import { hasNode, hostNames, labTopology } from './topology.js'

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
  const dir = stateDir(state.name)
  await writeFile(join(dir, 'host.sh'), hostScript)
  const withNode = hostNames(labTopology).filter((name) => hasNode(labTopology, name))
  const nodeless = hostNames(labTopology).filter((name) => !hasNode(labTopology, name))
  const init = spawn(
    'unshare',
    [
      '--mount --pid --net --uts --ipc --fork --kill-child sh -c'.split(' '),
      [initScript, 'fleetmove-lab', dir, withNode.join(' '), nodeless.join(' '), ...visibleTrees()],
    ].flat(),
    { env: hostEnvironment(), stdio: 'pipe', detached: true },
  )
  // Whatever happens to it shows as a host that doesn't come; the pipe to it may break meanwhile.
  init.stdin.on('error', () => {})
  try {
    const making = [makeKeys(dir), hashPassword(state.opsPassword)] as const
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

/** Waits until every host's first process has reported, and notes all identities in the state. */
async function bootHosts(init: ChildProcess, state: LabState, timeoutMs: number): Promise<void> {
  const names = hostNames(labTopology)
  let complaints = ''
  let noted = Promise.resolve()
  init.stderr?.on('data', (chunk: Buffer) => {
    complaints += chunk.toString()
  })
  await new Promise<void>((resolve, reject) => {
    const fail = (why: string) => {
      const missing = names.filter((name) => !state.hosts[name])
      reject(
        new FleetmoveError('internal', {
          message: `the practice network doesn't start: ${why}; no word from ${missing.join(', ')}${complaints ? `: ${complaints.trim()}` : ''}`,
        }),
      )
    }
    const timer = setTimeout(() => fail(`nothing within ${timeoutMs} ms`), timeoutMs)
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
      }
    })
  }).finally(() => noted)
}

function setIdentity(pid: number, set: (id: ProcessId) => void): void {
  const id = identify(pid)
  if (id) set(id)
}

/** The devices at both ends, made by the lab's init's namespace: the machine's own never sees them. */
async function makeLinks(state: LabState): Promise<void> {
  const pids = new Map(Object.entries(state.hosts).map(([name, id]) => [name, id.pid]))
  const made = await collect(
    spawn('nsenter', ['-t', String(state.init?.pid), '-n', 'ip', '-batch', '-'], { env: hostEnvironment() }),
    { input: linkBatch(labTopology, pids), what: 'ip link add' },
  )
  if (made.code !== 0)
    throw new FleetmoveError('kernel', { message: `the practice network's links: ${made.stderr.trim()}` })
}

async function prepareHost(
  state: LabState,
  name: string,
  keys: LabKeys,
  accounts: Accounts,
  timeoutMs: number,
): Promise<void> {
  const trees = hostTrees(state, name)
  await hideMachine(trees.root, name)
  for (const file of hostFiles(labTopology, name, keys, accounts)) await putFile(trees.root, file)
  const script = name === labTopology.router ? routerNetworkScript(labTopology) : hostNetworkScript(labTopology, name)
  const pid = state.hosts[name]?.pid ?? 0
  const result = await execInside(pid, name, ['sh', '-s'], { input: script + servicesScript(name), timeoutMs })
  if (result.code !== 0)
    throw new FleetmoveError('internal', {
      message: `the practice host can't be prepared: ${result.stderr.trim() || `exit code ${result.code}`}`,
      host: name,
    })
  await writeFile(baselineFile(state.name, name), JSON.stringify(await scanHost(trees)), { mode: 0o600 })
}

/** Takes out of a host what the machine has and the host must not: the machine's own keys, and Node. */
async function hideMachine(root: string, name: string): Promise<void> {
  const hidden = ['/root/fleet.yaml']
  for (const kind of ['rsa', 'ecdsa', 'ed25519'])
    hidden.push(`/etc/ssh/ssh_host_${kind}_key`, `/etc/ssh/ssh_host_${kind}_key.pub`)
  if (!hasNode(labTopology, name)) {
    const dirs = hostEnvironment().PATH?.split(':') ?? []
    for (const dir of dirs) for (const tool of ['node', 'nodejs', 'npm', 'npx']) hidden.push(join(dir, tool))
    hidden.push(nodeBinary())
  }
  for (const path of hidden)
    await rm(join(root, path), { recursive: true, force: true }).catch((error: NodeJS.ErrnoException) => {
      // Node inside of fleetmove's own tree, bound read-only: not in the host's PATH.
      if (error.code !== 'EROFS') throw error
    })
}

/** Writes a file below a host's root. Directories that are missing are made for its owner. */
async function putFile(root: string, { path, text, mode = 0o644, uid = 0 }: HostFile): Promise<void> {
  const file = join(root, path)
  const first = await mkdir(dirname(file), { recursive: true, mode: dirname(path).endsWith('.ssh') ? 0o700 : 0o755 })
  if (uid !== 0 && first !== undefined)
    for (let made = dirname(file); made.length >= first.length; made = dirname(made)) await chown(made, uid, uid)
  // A link, as resolv.conf often is, would be followed from the machine's root and not the host's.
  await rm(file, { force: true })
  await writeFile(file, text, { mode })
  await chown(file, uid, uid)
}

/** Starts what the host serves. Both daemons return once they listen. */
function servicesScript(name: string): string {
  const host = labTopology.hosts[name]
  let script = ''
  if (host?.sshd) script += '/usr/sbin/sshd -E /run/lab/sshd.log\n'
  if (host && host.web !== 'none') {
    // Lines that tell their own place, so that a torn or shuffled download can be seen.
    script += `mkdir -p ${dirname(bigFile.path)}
perl -e 'printf "%015d\\n", $_ for 1 .. ${bigFile.bytes / 16}' >${bigFile.path}
`
  }
  if (host?.web === 'running') script += 'nginx\n'
  // The check makes the directories that a start would make: the lab's doing, and not the migration's.
  if (host?.web === 'stopped') script += 'nginx -t -q\nrm -f /run/nginx.pid\n'
  return script
}

/** The user's key and every sshd host's, made at once; nothing of them stays on the machine's disk. */
async function makeKeys(dir: string): Promise<LabKeys> {
  const names = Object.keys(labTopology.hosts).filter((name) => labTopology.hosts[name]?.sshd)
  const keys = join(dir, 'keys')
  await mkdir(keys, { mode: 0o700 })
  const script = `cd "$1"; shift
for name; do ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$name" & pids="$pids $!"; done
for pid in $pids; do wait "$pid" || exit 1; done`
  // A dot can't stand in a host's name.
  const user = 'user.lab'
  const made = await collect(spawn('sh', ['-c', script, 'sh', keys, user, ...names], { env: hostEnvironment() }), {
    what: 'ssh-keygen',
  })
  if (made.code !== 0)
    throw new FleetmoveError('internal', { message: `ssh-keygen made no keys: ${made.stderr.trim()}` })
  const pair = async (name: string) => ({
    private: await readFile(join(keys, name), 'utf8'),
    public: (await readFile(join(keys, `${name}.pub`), 'utf8')).trim(),
  })
  const own = await pair(user)
  const hosts = new Map(await Promise.all(names.map(async (name) => [name, await pair(name)] as const)))
  await rm(keys, { recursive: true })
  return { userPrivate: own.private, userPublic: own.public, hosts }
}

/** crypt(3), SHA-512, by perl: openssl may not be installed. The password goes by standard input, unlisted. */
async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(9)
    .toString('base64url')
    .replace(/[^a-zA-Z0-9]/g, '.')
  const hashed = await collect(
    spawn('perl', ['-e', `print crypt(<STDIN>, '$6$${salt}$')`], { env: hostEnvironment() }),
    { input: password, what: 'perl' },
  )
  if (!hashed.stdout.startsWith('$6$'))
    throw new FleetmoveError('internal', { message: `perl can't hash a password: ${hashed.stderr.trim()}` })
  return hashed.stdout
}

/** MARKER TREE pairs for the boot scripts: fleetmove's own directory and Node, for where / doesn't hold them. */
function visibleTrees(): string[] {
  const node = nodeBinary()
  const trees = [node, node]
  let dir = dirname(realpathSync(process.argv[1] ?? node))
  while (dir !== dirname(dir)) {
    const manifest = join(dir, 'package.json')
    if (existsSync(manifest) && (JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string }).name === 'fleetmove')
      return [...trees, manifest, dir]
    dir = dirname(dir)
  }
  return trees
}

function nodeBinary(): string {
  return realpathSync(process.execPath)
}
