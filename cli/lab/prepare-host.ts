import { chown, mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { FleetmoveError } from '../../proto/model/error.js'
import { scanHost } from './changed-files.js'
import { execInside, hostEnvironment } from './exec.js'
import { type Accounts, bigFile, type HostFile, hostFiles, type LabKeys } from './host-files.js'
import { baselineFile, hostTrees } from './lab.js'
import { hostNetworkScript, routerNetworkScript } from './network.js'
import { ownCommand } from './own-command.js'
import type { LabState } from './state.js'
import { hasNode, labTopology } from './topology.js'
import { nodeBinary } from './visible-trees.js'

/** Makes a booted host what vagrant/topology.json says, and notes its files as they are then. */
export async function prepareHost(
  state: LabState,
  name: string,
  keys: LabKeys,
  accounts: Accounts,
  timeoutMs: number,
): Promise<void> {
  const trees = hostTrees(state, name)
  await hideMachine(trees.root, name)
  const own = hasNode(labTopology, name) ? ownCommand() : []
  for (const file of [...hostFiles(labTopology, name, keys, accounts), ...own]) await putFile(trees.root, file)
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
  // The machine may have an agent of its own, or what a torn run left.
  const hidden = ['/root/fleet.yaml', '/usr/local/lib/fleetmove', '/var/lib/fleetmove']
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
