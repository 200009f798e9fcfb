/** What scenarios have at hand: hosts, fleetmove on the controller, load from clients, and hosts as they were found. */
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { exitCode } from '../cli/lab/exec.js'
import { hostStateScript } from '../cli/lab/host-state.js'
import { labTopology } from '../cli/lab/topology.js'
import { type Load, type LoadOptions, startLoad } from '../test/load/client-load.js'
import type { Substrate } from './substrate.js'

export interface Event {
  type: string
  [key: string]: unknown
}

export interface Ended {
  code: number
  events: Event[]
  stderr: string
}

/** What each host looks like: lines to compare. */
export type Found = Record<string, string[]>

/**
 * Every file that fleetmove could have left or changed, without what hosts write by themselves: logs, random
 * seeds, leases, and the service's own, in the scope where `run:` has started it. A directory's time and size say nothing.
 */
const filesScript = `cd /
look() {
  find etc usr/local root home opt var/lib run/systemd/system -xdev \\
    \\( -path var/lib/systemd -o -path var/lib/nginx -o -path var/lib/docker -o -path var/lib/containerd \\
    -o -path var/lib/dbus -o -path var/lib/private -o -path var/lib/sudo -o -path var/lib/logrotate \\
    -o -path opt/fleetmove -o -path usr/local/bin/node -o -path root/.local -o -path root/fleet.yaml \\) -prune -o "$@"
}
look -type l -printf '%p %l\\n' -o -printf '%p %m %U:%G\\n'
look -type f -print0 | xargs -0r sha256sum --
ls -d run/fleetmove* run/wireguard 2>/dev/null
systemctl list-unit-files --no-legend --no-pager 2>/dev/null | grep -v ' transient '
systemctl list-units --all --plain --no-legend --no-pager --type=service,scope 2>/dev/null |
  awk '$1 !~ /^(session-|user@|user-|nginx|systemd-|docker|containerd|dbus-|web|init|fleetmove-.*-start-)/ { print $1, $3, $4 }'
true
`

/** Processes that come and go by themselves, or with the service. */
const passing = /^(nginx|perl|sshd|systemd.*|\(sd-pam\)|\(udev-worker\)|sudo|ps|sh|bash|kworker.*|cron|agetty|login)$/

export class World {
  private readonly loads: Load[] = []
  private found: Found = {}

  constructor(
    readonly substrate: Substrate,
    readonly hosts: readonly string[],
    /** The directory on this machine that holds vagrant/ and test/. */
    readonly repository: string,
    /** A line for who watches. */
    readonly say: (line: string) => void,
  ) {}

  /** A host's addresses, one a family, as its clients know them. */
  addresses(host: string): [string, string] {
    const { v4, v6 } = labTopology.hosts[host] ?? {}
    const translated = labTopology.nat.find((nat) => nat.host === host)?.public
    return [translated ?? v4?.[0] ?? '', v6?.[0] ?? '']
  }

  async shell(host: string, script: string): Promise<string> {
    const timeoutMs = 300_000 * this.substrate.patience
    const { code, stdout, stderr } = await this.substrate.exec(host, ['sh', '-c', script], { timeoutMs })
    if (code !== 0) throw new Error(`${host}: ${script}: exit code ${code}: ${stderr.trim()} ${stdout.trim()}`)
    return stdout
  }

  /** Runs fleetmove on the controller with --json, and throws with all that it said unless the exit code is the one given. */
  async fleetmove(words: string, code = 0, onEvent: (event: Event) => void = () => {}): Promise<Ended> {
    const ended = await this.start(words, onEvent).ended
    if (ended.code === code) return ended
    const said = ended.events.slice(-20).map((event) => JSON.stringify(event))
    throw new Error(
      `fleetmove ${words}: exit code ${ended.code} in place of ${code}\n${ended.stderr}\n${said.join('\n')}`,
    )
  }

  /** Starts fleetmove; `kill` is SIGKILL. */
  start(words: string, onEvent: (event: Event) => void = () => {}): { ended: Promise<Ended>; kill: () => void } {
    const { node, tree, patience } = this.substrate
    const script = 'cd /root && exec "$@"'
    const changes = /^(up|advance|rollback|finalize|down)\b/.test(words)
    const slow = patience > 2 && changes ? ['--confirm-timeout', '10m'] : []
    const argv = ['sh', '-c', script, 'sh', node, `${tree}/dist/cli/main.js`, ...words.split(' '), ...slow, '--json']
    const child = this.substrate.spawn('controller', argv)
    const events: Event[] = []
    let stderr = ''
    child.stdin?.end()
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
    })
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const event = JSON.parse(line) as Event
      events.push(event)
      onEvent(event)
    })
    const ended = new Promise<Ended>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code, signal) => resolve({ code: exitCode(code, signal), events, stderr }))
    })
    return { ended, kill: () => void child.kill('SIGKILL') }
  }

  async writeFleet(text: string): Promise<void> {
    await this.substrate.copy('controller', '/root/fleet.yaml', text)
  }

  /** Checked load from a client; every answer must be the practice web server's, and know the client's address. */
  async load(client: string, options: LoadOptions): Promise<Load> {
    const { node, tree } = this.substrate
    const { patience } = this.substrate
    // An emulated processor serves few, and is to do other things besides.
    const perSecond = patience > 2 ? Math.min(options.perSecond, 4) : options.perSecond
    const load = startLoad(this.substrate, client, { ...options, perSecond, patience }, [
      node,
      `${tree}/test/load/load.mjs`,
    ])
    this.loads.push(load)
    await load.ready
    return load
  }

  /** This is how `leftovers` wants the hosts to be. */
  async remember(hosts: readonly string[] = this.hosts.filter((host) => host !== 'controller')): Promise<void> {
    // A module stays in a kernel of one's own, and its settings with it.
    const modules = 'modprobe -aq nf_conntrack nf_tables nft_ct nft_nat wireguard vxlan; true'
    await Promise.all(hosts.map((host) => this.shell(host, modules)))
    this.found = Object.fromEntries(
      await Promise.all(hosts.map(async (host) => [host, await this.look(host)] as const)),
    )
  }

  /** What differs from then; empty when all is as it was found. */
  async leftovers(): Promise<string[]> {
    const lines = await Promise.all(
      Object.entries(this.found).map(async ([host, was]) => {
        const is = await this.look(host)
        return [
          ...was.filter((line) => !is.includes(line)).map((line) => `${host}: - ${line}`),
          ...is.filter((line) => !was.includes(line)).map((line) => `${host}: + ${line}`),
        ]
      }),
    )
    return lines.flat()
  }

  private async look(host: string): Promise<string[]> {
    // The number of a device's other end, at the router, is new after every reboot.
    const text = (await this.shell(host, hostStateScript))
      .replace(/@if\d+:/g, ':')
      // What is left of a lease.
      .replace(/_lft \d+sec/g, '_lft')
    const state = text.split('\n').filter((line) => !passing.test(line))
    const files = this.substrate.changedFiles
      ? await this.substrate.changedFiles(host)
      : (await this.shell(host, filesScript)).split('\n')
    return [...state, ...files]
  }

  /** Waits for a condition; throws when it doesn't come true in time, which is longer where hosts are slower. */
  async until(what: string, condition: () => Promise<boolean> | boolean, timeoutMs = 60_000): Promise<void> {
    const most = timeoutMs * this.substrate.patience
    const end = Date.now() + most
    while (!(await condition())) {
      if (Date.now() > end) throw new Error(`${what}: not within ${most / 1000} s`)
      await delay(200)
    }
  }

  async end(): Promise<void> {
    for (const load of this.loads) load.abandon()
    await this.substrate.end()
  }
}

/** Throws unless a list of complaints is empty. */
export function none(what: string, complaints: readonly string[]): void {
  if (complaints.length > 0) throw new Error(`${what}: ${complaints.slice(0, 12).join('\n  ')}`)
}

/** Throws, with both, unless they are the same as JSON. */
export function same(what: string, is: unknown, wanted: unknown): void {
  if (JSON.stringify(is) !== JSON.stringify(wanted))
    throw new Error(`${what}: ${JSON.stringify(is)} in place of ${JSON.stringify(wanted)}`)
}
