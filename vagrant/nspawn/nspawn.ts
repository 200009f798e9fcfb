/** Booted systemd-nspawn hosts, each in a network namespace of its own, on this machine's kernel. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { collect, type ExecResult, execInside, hostEnvironment, spawnInside } from '../../cli/lab/exec.js'
import type { LabKeys } from '../../cli/lab/host-files.js'
import { cutCommands, routerNetworkScript } from '../../cli/lab/network.js'
import { hashPassword, makeKeys } from '../../cli/lab/secrets.js'
import { hasNode, labTopology } from '../../cli/lab/topology.js'
import { rootTree, usualRelease } from '../box/root-tree.js'
import { captureBy } from '../capture.js'
import { bigFileScript, bootedHostFiles, writeBelow } from '../host-set-up.js'
import type { Ability, Substrate, SubstrateMaker } from '../substrate.js'
import { hostScript, initScript } from './boot-scripts.js'
import { cgroupDirectories, makeCgroups, removeCgroups, systemdOf, unifiedHierarchy } from './cgroups.js'

/** A boot takes a second or two; on a machine that does much else, a minute. */
const readyMs = 180_000
const base = '/run/fleetmove-nspawn'
/** In the hosts that have Node. */
const node = '/usr/local/bin/node'
const tree = '/opt/fleetmove'

const programs = {
  'systemd-nspawn': 'systemd-container',
  mmdebstrap: 'mmdebstrap',
  nsenter: 'util-linux',
  ip: 'iproute2',
}

const lacks = (ability: Ability): string | undefined => {
  if (ability === 'netem') return "the hosts run on this machine's kernel, whose modules they can't load"
  if (ability === 'kernel-wireguard') return "the hosts run on this machine's kernel, whose modules they can't load"
  return undefined
}

/** @param repository the directory that holds dist/, test/ and vagrant/ */
export function nspawnMaker(repository: string): SubstrateMaker {
  const box = join(repository, 'vagrant', 'box')
  let say = (_line: string): void => {}
  return {
    name: 'nspawn',
    lacks,
    async whyNot() {
      if (process.getuid?.() !== 0) return 'systemd-nspawn needs root'
      const missing = Object.entries(programs).filter(([program]) => !isInstalled(program))
      if (missing.length > 0) return `install ${missing.map(([, name]) => name).join(', ')}`
      if (!unifiedHierarchy()) return 'no cgroup2 is mounted here, which systemd needs'
      return mayMount()
    },
    async prepare(how) {
      say = how
      await rootTree(box, usualRelease, say)
    },
    async start(hosts, releases) {
      const trees = new Map<string, string>()
      // One after the other: two hosts may want one that is yet to be made.
      for (const host of hosts) trees.set(host, await rootTree(box, releases[host] ?? usualRelease, say))
      return NspawnNetwork.start(repository, trees)
    },
    close: async () => {},
  }
}

const isInstalled = (program: string): boolean =>
  (hostEnvironment().PATH ?? '').split(':').some((directory) => existsSync(join(directory, program)))

/** An unprivileged container may be root and yet not mount, nor make cgroups. */
async function mayMount(): Promise<string | undefined> {
  const script = 'mount -t tmpfs none /mnt && ip link add fmtry type veth peer name fmtry2'
  const tried = await collect(spawn('unshare', ['--mount', '--net', 'sh', '-c', script], { env: hostEnvironment() }), {
    what: 'unshare',
  })
  if (tried.code !== 0) return `namespaces can't be made here: ${tried.stderr.trim()}`
  try {
    await makeCgroups(`try-${process.pid}`, ['host'])
    return undefined
  } catch (error) {
    return `cgroups can't be made here: ${(error as Error).message}`
  } finally {
    await removeCgroups(`try-${process.pid}`)
  }
}

/** What runs that were killed have left: their processes are gone, since each network ends with its run. */
async function sweep(): Promise<void> {
  for (const name of await readdir(base)) {
    if (existsSync(`/proc/${name.split('-')[0]}`)) continue
    await removeCgroups(name)
    await rm(join(base, name), { recursive: true, force: true })
  }
}

export class NspawnNetwork implements Substrate {
  readonly name = 'nspawn'
  readonly node = node
  readonly tree = tree
  readonly patience = 1
  readonly lacks = lacks
  /** The machine's pid of the first process, whose network namespace is the router's. */
  router = 0
  private ended = false

  private constructor(
    private readonly id: string,
    private readonly directory: string,
    private readonly trees: ReadonlyMap<string, string>,
  ) {}

  /**
   * @param trees the file system that each host starts from
   * @param keys those that hosts elsewhere have, where this network is joined to them; its own if left away
   */
  static async start(repository: string, trees: ReadonlyMap<string, string>, keys?: LabKeys): Promise<NspawnNetwork> {
    await mkdir(base, { recursive: true, mode: 0o700 })
    await sweep()
    const directory = await mkdtemp(`${base}/${process.pid}-`)
    const network = new NspawnNetwork(directory.slice(base.length + 1), directory, trees)
    try {
      await network.boot(repository, keys ?? (await makeKeys(directory)))
      return network
    } catch (error) {
      const said = [...trees.keys()].map((host) => `${host}: ${network.console(host)}`).join('\n')
      await network.end()
      throw new Error(`the hosts don't boot: ${(error as Error).message}\n${said}`)
    }
  }

  private async boot(repository: string, keys: LabKeys): Promise<void> {
    const { directory } = this
    const hosts = [...this.trees.keys()]
    await mkdir(join(directory, 'fs'))
    await writeFile(join(directory, 'host.sh'), hostScript)
    await writeFile(join(directory, 'router.sh'), routerNetworkScript({ ...labTopology, hosts: {} }))
    await writeFile(join(directory, 'cgroups'), `${cgroupDirectories(this.id).join('\n')}\n`)
    await makeCgroups(this.id, hosts)
    const opsHash = await hashPassword('practice')
    for (const [host, root] of this.trees) {
      const account = (file: string): string => readFileSync(join(root, 'etc', file), 'utf8')
      const accounts = { passwd: account('passwd'), shadow: account('shadow'), group: account('group'), opsHash }
      const files = join(directory, 'files', host)
      await writeBelow(files, bootedHostFiles(host, 'eth0', keys, accounts))
      await writeBelow(files, [{ path: '/etc/machine-id', text: `${crypto.randomUUID().replaceAll('-', '')}\n` }])
      const shown = [`${process.execPath}:${node}`, `${repository.replace(/\/$/, '')}:${tree}`]
      const binds = hasNode(labTopology, host) ? shown.map((bind) => `--bind-ro=${bind}`) : []
      await writeFile(join(directory, `binds-${host}`), binds.join(' '))
    }
    await this.spawnInit()
    await Promise.all(hosts.map((host) => this.untilUp(host, undefined)))
    await Promise.all(hosts.map((host) => this.exec(host, ['sh', '-c', bigFileScript])))
  }

  private async spawnInit(): Promise<void> {
    const words = [...this.trees].flatMap(([host, tree]) => [host, labTopology.hosts[host]?.subnet ?? '', tree])
    const child = spawn(
      'unshare',
      [
        ...['--mount', '--net', '--pid', '--uts', '--ipc', '--fork', '--kill-child', '--propagation', 'private'],
        ...['sh', '-c', initScript, 'fleetmove-nspawn', this.directory, ...words],
      ],
      // Its standard input is its life line: when this process ends, however it ends, the hosts end.
      { env: hostEnvironment(), stdio: 'pipe' },
    )
    this.stop = () =>
      new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve()
        child.once('exit', () => resolve())
        child.kill('SIGKILL')
      })
    child.stdin.on('error', () => {})
    let complaints = ''
    child.stderr.on('data', (chunk: Buffer) => {
      complaints += chunk.toString()
    })
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', () => reject(new Error(`the network's first process ended: ${complaints}`)))
      createInterface({ input: child.stdout }).on('line', (line) => {
        if (line.startsWith('init ')) {
          this.router = Number(line.slice(5))
          resolve()
        } else complaints += `${line}\n`
      })
    })
  }

  private stop: () => Promise<void> = async () => {}

  /** Waits for a boot later than that of the process `before`. */
  private async untilUp(host: string, before: number | undefined): Promise<void> {
    const end = Date.now() + readyMs
    const late = (): void => {
      if (Date.now() > end) throw new Error(`${host} isn't up after ${readyMs / 1000} s: ${this.console(host)}`)
    }
    for (let pid = systemdOf(this.id, host); pid === undefined || pid === before; pid = systemdOf(this.id, host)) {
      late()
      await delay(50)
    }
    for (;;) {
      late()
      const { stdout } = await this.exec(host, ['systemctl', 'is-system-running']).catch(() => ({ stdout: '' }))
      const state = stdout.trim()
      if (state === 'running' && !(await this.isTentative(host))) return
      if (state === 'degraded') {
        const failed = await this.exec(host, ['systemctl', '--failed', '--plain', '--no-legend'])
        throw new Error(`${host} boots with failed units: ${failed.stdout.trim()}`)
      }
      await delay(100)
    }
  }

  /** An address whose duplicates are being looked for doesn't answer yet. */
  private async isTentative(host: string): Promise<boolean> {
    return (await this.exec(host, ['ip', '-6', 'addr', 'show', 'tentative'])).stdout.trim() !== ''
  }

  private console(host: string): string {
    const file = join(this.directory, `console-${host}`)
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').slice(-3).join(' | ') : 'no console'
  }

  private pid(host: string): number {
    const pid = host === labTopology.router ? this.router : systemdOf(this.id, host)
    if (!pid) throw new Error(`${host} isn't up`)
    return pid
  }

  async exec(host: string, argv: readonly string[], options = {}): Promise<ExecResult> {
    return execInside(this.pid(host), host, argv, options)
  }

  spawn(host: string, argv: readonly string[]) {
    return spawnInside(this.pid(host), argv)
  }

  async copy(host: string, path: string, content: string | Buffer, mode = 0o644): Promise<void> {
    const script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
    const { code, stderr } = await this.exec(host, ['sh', '-c', script, 'sh', path, mode.toString(8)], {
      input: content,
    })
    if (code !== 0) throw new Error(`${host}: ${path}: ${stderr}`)
  }

  async reboot(host: string): Promise<void> {
    const before = systemdOf(this.id, host)
    await this.exec(host, ['systemctl', 'reboot'])
    await this.untilUp(host, before)
  }

  cut(one: string, other: string): Promise<void> {
    return this.route(cutCommands(labTopology, 'add', one, other))
  }

  heal(one: string, other: string): Promise<void> {
    return this.route(cutCommands(labTopology, 'delete', one, other))
  }

  /** nft can't read what Node calls a pipe (a socket pair), so cat makes a real one. */
  private async route(commands: string): Promise<void> {
    const { code, stderr } = await this.exec(labTopology.router, ['sh', '-c', 'cat | nft -f -'], { input: commands })
    if (code !== 0) throw new Error(stderr)
  }

  capture(host: string, filter: string) {
    return captureBy(this, host, filter)
  }

  async end(): Promise<void> {
    if (this.ended) return
    this.ended = true
    await this.stop()
    await removeCgroups(this.id)
    await rm(this.directory, { recursive: true, force: true })
    await rm(base, { recursive: false }).catch(() => {})
  }
}
