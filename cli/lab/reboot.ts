/** A practice host that loses its power: all its processes and namespaces end, and it boots anew from its disk. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { FleetmoveError } from '../../proto/model/error.js'
import { collect, execInside, hostEnvironment } from './exec.js'
import { hostNetworkScript } from './network.js'
import { identify, killAndWait, type ProcessId } from './process.js'
import { type LabState, stateDir, writeState } from './state.js'
import { hasNode, labTopology } from './topology.js'
import { visibleTrees } from './visible-trees.js'

const endMs = 15_000
const bootMs = 30_000

/** What must be the same after a boot, and what ran and would be started again by a host's own init. */
interface Before {
  mac: string
  /** The number of the device, and of its other end at the router. */
  index: string
  peerIndex: string
  nginx: boolean
  /** The agent's command line; empty where none ran. */
  agent: string[]
}

/**
 * Kills everything in a host and boots it: /run, /tmp and the kernel's state are new, its disk is kept. What
 * the host's init would start is started: sshd, and nginx and the agent if they ran. The router can't be rebooted.
 */
export async function rebootHost(state: LabState, host: string): Promise<void> {
  const first = state.hosts[host]
  const router = state.hosts[labTopology.router]
  if (!first || !router || host === labTopology.router)
    throw new FleetmoveError('usage', {
      message: `the practice network has no host "${host}" that could be rebooted`,
      hint: `They are ${Object.keys(labTopology.hosts).join(', ')}`,
    })
  const before = await lookAt(first.pid, host)
  if (!(await killAndWait(first, endMs)))
    throw new FleetmoveError('timeout', { message: `its first process doesn't end within ${endMs} ms`, host })
  const booted = await boot(state, host)
  state.hosts[host] = booted
  await writeState(state)
  await connect(state, host, booted.pid, router.pid, before)
  const script = hostNetworkScript(labTopology, host) + startScript(host, before)
  const started = await execInside(booted.pid, host, ['sh', '-s', ...before.agent], {
    input: script,
    timeoutMs: bootMs,
  })
  if (started.code !== 0) throw failed(host, started.stderr)
}

async function lookAt(pid: number, host: string): Promise<Before> {
  const script = `set -eu
cat /sys/class/net/eth0/address /sys/class/net/eth0/ifindex /sys/class/net/eth0/iflink
pgrep -x nginx >/dev/null && echo yes || echo no
agent=$(cat /run/fleetmove/agent.pid 2>/dev/null) && tr '\\0' '\\n' <"/proc/$agent/cmdline" 2>/dev/null || true`
  const { code, stdout, stderr } = await execInside(pid, host, ['sh', '-c', script], { timeoutMs: endMs })
  if (code !== 0) throw failed(host, stderr)
  const [mac = '', index = '', peerIndex = '', nginx, ...agent] = stdout.trim().split('\n')
  return { mac, index, peerIndex, nginx: nginx === 'yes', agent }
}

/** In the lab's own namespaces, where the hosts' disks are mounted; a child of the lab's init, as all hosts are. */
async function boot(state: LabState, host: string): Promise<ProcessId> {
  const trees = visibleTrees()
  const dir = stateDir(state.name)
  const start =
    'exec 2>&1; unshare --mount --pid --net --uts --ipc --fork --kill-child sh "$1/host.sh" "$@" </dev/null &'
  const child = spawn(
    'nsenter',
    [
      ['-t', String(state.init?.pid), '-m', '-u', '-i', '-n', '-p', '--', 'sh', '-c', start, 'sh', dir, host],
      hasNode(labTopology, host) ? trees : trees.slice(2),
    ].flat(),
    { env: hostEnvironment(), stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const said: string[] = []
  try {
    return await new Promise<ProcessId>((resolve, reject) => {
      const timer = setTimeout(() => reject(failed(host, said.join('; ') || `no word within ${bootMs} ms`)), bootMs)
      child.on('error', reject)
      createInterface({ input: child.stdout }).on('line', (line) => {
        said.push(line)
        const [word, , pid] = line.split(' ')
        const id = word === 'host' ? identify(Number(pid)) : undefined
        if (!id && word !== 'lost') return
        clearTimeout(timer)
        if (id) resolve(id)
        else reject(failed(host, said.join('; ')))
      })
    })
  } finally {
    // What holds its other end lives as long as the host.
    child.stdout.destroy()
  }
}

/** The same device as before: by its address others know it, and `hostState` shows both numbers. */
async function connect(state: LabState, host: string, pid: number, router: number, before: Before): Promise<void> {
  const inside = (
    target: number,
    commands: string,
    what: string,
    force = false,
  ): Promise<{ stderr: string; code: number }> =>
    collect(
      spawn('nsenter', ['-t', String(target), '-n', 'ip', ...(force ? ['-force'] : []), '-batch', '-'], {
        env: hostEnvironment(),
      }),
      { input: commands, what },
    )
  // The dead host's namespace goes when the kernel comes to it, and its device with it.
  await inside(router, `link del ${host}\n`, 'ip link del', true)
  const { index, peerIndex, mac } = before
  const made = await inside(
    state.init?.pid ?? 0,
    `link add eth0 index ${index} address ${mac} netns ${pid} type veth peer name ${host} index ${peerIndex} netns ${router}\n`,
    'ip link add',
  )
  if (made.code !== 0) throw failed(host, made.stderr)
  const joined = await inside(router, `link set ${host} master ${labTopology.hosts[host]?.subnet} up\n`, 'ip link set')
  if (joined.code !== 0) throw failed(host, joined.stderr)
}

function startScript(host: string, { nginx, agent }: Before): string {
  let script = ''
  if (labTopology.hosts[host]?.sshd) script += '/usr/sbin/sshd -E /run/lab/sshd.log\n'
  if (nginx) script += 'nginx\n'
  if (agent.length > 0)
    script += `mkdir -m 0700 -p /run/fleetmove
setsid sh -c 'echo $$ >/run/fleetmove/agent.pid; umask 022; cd /; exec "$@"' sh "$@" </dev/null >>/var/lib/fleetmove/agent.log 2>&1 &
`
  return script
}

const failed = (host: string, why: string): FleetmoveError =>
  new FleetmoveError('internal', { message: `the practice host can't be rebooted: ${why.trim()}`, host })
