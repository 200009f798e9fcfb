/** Virtual machines by Vagrant, spoken to through `vagrant ssh-config` alone, so that any provider will do. */
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { collect, type ExecOptions, type ExecResult } from '../../cli/lab/exec.js'
import type { LabKeys } from '../../cli/lab/host-files.js'
import { cutCommands, routerRuleset } from '../../cli/lab/network.js'
import { hashPassword } from '../../cli/lab/secrets.js'
import { hasNode, labTopology } from '../../cli/lab/topology.js'
import { captureBy } from '../capture.js'
import { bigFileScript, bootedHostFiles } from '../host-set-up.js'
import type { Substrate } from '../substrate.js'
import { type Place, runAt } from './libvirt-by-hand.js'
import { node, ownersOf, packFiles, tree, withVagrant } from './pack-files.js'
import { routerNetworkFiles } from './router.js'

const sshSeconds = 900
/** A signal's way to a host that serves; far less than it takes ssh to give a silent one up. */
const killSeconds = 60
const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`

export class Machines implements Substrate {
  readonly name = 'vagrant'
  readonly node = node
  readonly tree = tree
  readonly patience: number

  /** @param config the file that `vagrant ssh-config` wrote */
  constructor(
    private readonly place: Place,
    private readonly config: string,
  ) {
    this.patience = place.patience
  }

  lacks(): undefined {
    return undefined
  }

  spawn(host: string, argv: readonly string[]): ChildProcess {
    // ssh passes no signal on: the command leads a session whose number it writes down.
    const mark = `/run/practice-${randomBytes(6).toString('hex')}`
    const script = `echo $$ >${mark}; "$@"; code=$?; rm -f ${mark}; exit $code`
    const remote = ['sudo', '-n', '-H', 'setsid', '-w', 'sh', '-c', script, 'sh', ...argv].map(quote).join(' ')
    const child = this.ssh(host, remote)
    const killLocally = child.kill.bind(child)
    child.kill = (signal = 'SIGTERM') => {
      const name = String(signal).replace(/^SIG/, '')
      const kill = `kill -${name} -- -$(cat ${mark}) ; rm -f ${mark}`
      const killer = this.ssh(host, `sudo -n sh -c ${quote(kill)}`)
      // A host that is rebooting answers nobody: ssh itself is ended then, or it would wait for minutes.
      const timer = setTimeout(() => {
        killer.kill('SIGKILL')
        if (name === 'KILL') killLocally('SIGKILL')
      }, killSeconds * 1000)
      killer.once('close', () => clearTimeout(timer))
      return true
    }
    return child
  }

  private ssh(host: string, command: string): ChildProcess {
    return this.place.spawn(['ssh', '-F', this.config, host, command], this.place.environment)
  }

  /** Ends the connections that are kept: a snapshot would bring back a host that is at another place in them. */
  async hangUp(hosts: readonly string[]): Promise<void> {
    await Promise.all(
      hosts.map((host) =>
        collect(this.place.spawn(['ssh', '-F', this.config, '-O', 'exit', host], this.place.environment), {
          what: 'ssh -O exit',
        }),
      ),
    )
  }

  exec(host: string, argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return collect(this.spawn(host, argv), {
      timeoutMs: 300_000 * this.patience,
      ...options,
      host,
      what: argv.join(' '),
    })
  }

  async shell(host: string, script: string, input?: string | Buffer): Promise<string> {
    const { code, stdout, stderr } = await this.exec(host, ['sh', '-c', script], input === undefined ? {} : { input })
    if (code !== 0) throw new Error(`${host}: ${stderr.trim() || `exit code ${code}`}`)
    return stdout
  }

  async copy(host: string, path: string, content: string | Buffer, mode = 0o644): Promise<void> {
    await this.shell(
      host,
      `mkdir -p "$(dirname ${quote(path)})"; cat >${quote(path)}; chmod ${mode.toString(8)} ${quote(path)}`,
      content,
    )
  }

  async reboot(host: string): Promise<void> {
    const boot = 'cat /proc/sys/kernel/random/boot_id'
    const before = await this.shell(host, boot)
    await this.exec(host, ['sh', '-c', 'nohup sh -c "sleep 0.5; systemctl reboot" >/dev/null 2>&1 &'])
    await this.untilUp(host, async () => (await this.shell(host, boot)) !== before)
  }

  /** SSH answers, and systemd has started what it starts. The clock is set: a snapshot's stands where it was taken. */
  async untilUp(host: string, isNew: () => Promise<boolean> = async () => true): Promise<void> {
    const end = Date.now() + sshSeconds * 1000
    for (;;) {
      const script = `date -s @${Math.floor(Date.now() / 1000)} >/dev/null; systemctl is-system-running`
      const timeoutMs = 30_000 * this.patience
      const state = await this.exec(host, ['sh', '-c', script], { timeoutMs }).catch(() => undefined)
      if (state && /^(running|degraded)/.test(state.stdout) && (await isNew().catch(() => false))) return
      if (Date.now() > end) throw new Error(`${host} isn't up after ${sshSeconds} s: ${state?.stdout ?? ''}`)
      await delay(1000)
    }
  }

  async cut(one: string, other: string): Promise<void> {
    await this.shell(labTopology.router, 'nft -f -', cutCommands(labTopology, 'add', one, other))
  }

  async heal(one: string, other: string): Promise<void> {
    await this.shell(labTopology.router, 'nft -f -', cutCommands(labTopology, 'delete', one, other))
  }

  capture(host: string, filter: string) {
    return captureBy(this, host, filter)
  }

  async end(): Promise<void> {}

  /** Gives every machine what vagrant/topology.json says of it; fleetmove and Node to those that use them. */
  async furnish(names: readonly string[], keys: LabKeys, repository: string, scratch: string): Promise<void> {
    await mkdir(scratch, { recursive: true, mode: 0o700 })
    const { router } = labTopology
    const hosts = names.filter((name) => name !== router)
    try {
      const opsHash = await hashPassword('practice')
      await Promise.all([
        ...(names.includes(router) ? [this.furnishRouter(join(scratch, 'tree'))] : []),
        ...hosts.map(async (host) => {
          const [passwd = '', shadow = '', group = ''] = (
            await this.shell(host, 'cat /etc/passwd; echo =; cat /etc/shadow; echo =; cat /etc/group')
          ).split(/^=\n/m)
          const files = bootedHostFiles(host, 'eth1', keys, { passwd, shadow, group, opsHash })
          const packed = await packFiles(
            join(scratch, `tree-${host}`),
            files.map((file) => (file.path === '/etc/sudoers' ? withVagrant(file) : file)),
            hasNode(labTopology, host) ? repository : undefined,
          )
          await this.shell(
            host,
            `tar -xzf - -C /
            ${files.map(ownersOf).join('')}${bigFileScript}
            hostname ${host}; systemctl daemon-reload; sysctl -q -p /etc/sysctl.d/99-practice.conf
            # Devices that are there already: as they will be after a reboot.
            for file in /proc/sys/net/ipv4/conf/eth*/rp_filter; do echo 1 >"$file"; done
            systemctl restart systemd-networkd ssh; networkctl reload`,
            packed,
          )
        }),
      ])
    } finally {
      await rm(scratch, { recursive: true, force: true })
    }
  }

  private async furnishRouter(scratch: string): Promise<void> {
    const { router } = labTopology
    const rules = { path: '/etc/practice.nft', text: `flush ruleset\n${routerRuleset(labTopology)}` }
    await this.shell(
      router,
      'tar -xzf - -C / && sysctl -q --system; systemctl restart systemd-networkd; nft -f /etc/practice.nft',
      await packFiles(scratch, [...routerNetworkFiles(labTopology), rules]),
    )
  }
}

/** Writes what `vagrant ssh-config` says to a file, with errors shown, one connection kept a host, and retries at boot. */
export async function writeSshConfig(
  place: Place,
  file: string,
  directory: string,
  env: Record<string, string>,
): Promise<void> {
  const { code, stdout, stderr } = await runAt(
    place,
    ['vagrant', 'ssh-config'],
    { ...env, VAGRANT_CWD: directory },
    300_000,
  )
  if (code !== 0) throw new Error(`vagrant ssh-config: ${stderr.trim()}`)
  const more = [
    'ControlMaster auto',
    `ControlPath ${dirname(file)}/%C`,
    'ControlPersist 600',
    'ServerAliveInterval 15',
    'ServerAliveCountMax 8',
  ]
    .map((line) => `  ${line}\n`)
    .join('')
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  await writeFile(file, stdout.replace(/^ *LogLevel .*$/gm, '  LogLevel ERROR').replace(/^(Host .*)$/gm, `$1\n${more}`))
  if (!(await readFile(file, 'utf8')).includes('HostName')) throw new Error('vagrant ssh-config names no host')
}
