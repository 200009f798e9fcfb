/** What the end-to-end tests share: a practice network, servers, clients and load in its hosts, the built command line in its controller, and a look at what is left. */
import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { labDown } from '../../cli/lab/down.js'
import { exitCode } from '../../cli/lab/exec.js'
import type { Lab } from '../../cli/lab/lab.js'
import { labTopology } from '../../cli/lab/topology.js'
import { labUp } from '../../cli/lab/up.js'
import { type Load, type LoadOptions, startLoad } from '../load/client-load.js'
import { differences, type Snapshot, takeSnapshot } from './as-found.js'

const root = join(__dirname, '..', '..')
const fixture = (name: string): string => join(root, 'test', 'e2e', 'fixtures', name)
/** The built command line, also as the practice hosts see it: a build elsewhere must not lie in /tmp, of which they have their own. */
export const main = join(process.env.FLEETMOVE_DIST ?? join(root, 'dist'), 'cli', 'main.js')

const isRoot = process.platform === 'linux' && process.getuid?.() === 0
if (!isRoot) console.warn('Skipped: the practice network makes namespaces, which needs root on Linux')
/** `describe` where a practice network can be made. */
export const withRoot = isRoot ? describe : describe.skip

export const addressesOf = (host: 'old1' | 'new1'): string[] => [
  labTopology.hosts[host]?.v4[0] ?? '',
  labTopology.hosts[host]?.v6[0] ?? '',
]

const withLabs = new Set<string>()

/**
 * A practice network of its own, and its hosts as they are before fleetmove has touched them.
 * @param prepare what the hosts are given before that
 */
export async function startPractice(
  name: string,
  prepare: (practice: Practice) => Promise<void> = async () => {},
): Promise<Practice> {
  if (!existsSync(main)) throw new Error(`there is no ${main}: npm run build`)
  withLabs.add(name)
  const practice = new Practice(await labUp({ name }))
  await prepare(practice)
  await practice.remember()
  return practice
}

/** Also ends what a failed start or a test left. */
export async function endPractices(): Promise<void> {
  for (const name of withLabs) await labDown(name)
}

export interface Ended {
  code: number
  stdout: string
  stderr: string
  /** The JSON lines of stdout (`--json`). */
  events: Event[]
  ms: number
}

export interface Event {
  type: string
  [key: string]: unknown
}

export interface Call {
  protocol: 'tcp' | 'udp'
  address: string
  port: number
  from?: { address?: string; port?: number }
  /** To be echoed. */
  bytes?: number
  timeoutMs?: number
}

/** What echo.pl said, or why nothing was heard. */
export interface Answer {
  host?: string
  source?: string
  sourcePort?: number
  local?: string
  echoed?: boolean
  error?: string
  connectMs: number
}

export interface Held {
  target: string
  greeting: string
  said: number
  back: number
  longestMs: number
  error: string
}

export interface Started {
  ended: Promise<Ended>
  /** SIGKILL. */
  kill: () => void
  signal: (signal: NodeJS.Signals) => void
}

export interface RunOptions {
  /** Called with each line as it comes. */
  onEvent?: (event: Event) => void
}

export class Practice {
  /** The server, for where it must be started in an unusual way. */
  static readonly echo = fixture('echo.pl')

  private readonly loads: Load[] = []
  private readonly children = new Set<ChildProcess>()
  private found: Snapshot = {}

  constructor(readonly lab: Lab) {}

  /** A practice network of its own. */
  static async start(kind: string): Promise<Practice> {
    if (!existsSync(main)) throw new Error(`there is no ${main}: npm run build`)
    return new Practice(await labUp({ name: `e2e-${kind}-${process.pid}` }))
  }

  /** This is how `leftovers` wants the hosts to be. */
  async remember(): Promise<void> {
    this.found = await takeSnapshot(this.lab)
  }

  /** Runs fleetmove in the controller to its end, with --json. */
  run(words: string, options: RunOptions = {}): Promise<Ended> {
    return this.start(words, options).ended
  }

  /** Starts fleetmove in the controller, with --json. */
  start(words: string, options: RunOptions = {}): Started {
    return this.begin([...words.split(' '), '--json'], options)
  }

  /** Runs it, and throws with all that it said unless the exit code is the one given. */
  async expect(words: string, code = 0, options: RunOptions = {}): Promise<Ended> {
    return this.wanted(words, code, await this.run(words, options))
  }

  /** fleetmove on the controller, in /root, without a terminal. */
  fleetmove(...args: string[]): Promise<Ended> {
    return this.begin(args, {}).ended
  }

  /** The same, for when it must succeed. */
  async must(...args: string[]): Promise<Ended> {
    return this.wanted(args.join(' '), 0, await this.fleetmove(...args))
  }

  private begin(args: readonly string[], { onEvent }: RunOptions): Started {
    const begun = performance.now()
    const child = this.spawn('controller', [process.execPath, main, ...args])
    const events: Event[] = []
    let stdout = ''
    let stderr = ''
    child.stdin?.end()
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
    })
    createInterface({ input: child.stdout! }).on('line', (line) => {
      stdout += `${line}\n`
      if (!args.includes('--json')) return
      const event = JSON.parse(line) as Event
      events.push(event)
      onEvent?.(event)
    })
    const ended = new Promise<Ended>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code, signal) =>
        resolve({ code: exitCode(code, signal), stdout, stderr, events, ms: performance.now() - begun }),
      )
    })
    return { ended, kill: () => void child.kill('SIGKILL'), signal: (signal) => void child.kill(signal) }
  }

  private wanted(words: string, code: number, ended: Ended): Ended {
    if (ended.code === code) return ended
    throw new Error(`fleetmove ${words}: exit code ${ended.code} in place of ${code}\n${ended.stderr}\n${ended.stdout}`)
  }

  /** A shell script in a host. @throws when it fails */
  async shell(host: string, script: string, timeoutMs = 30_000): Promise<string> {
    const { code, stdout, stderr } = await this.lab.exec(host, ['bash', '-c', script], { timeoutMs })
    if (code !== 0) throw new Error(`${host}: ${script}: exit code ${code}: ${stderr}`)
    return stdout
  }

  /** JSON is YAML. */
  async fleet(fleet: object | string): Promise<void> {
    const input = typeof fleet === 'string' ? fleet : JSON.stringify(fleet, null, 2)
    await this.lab.exec('controller', ['tee', '/root/fleet.yaml'], { input })
  }

  async load(client: string, options: LoadOptions): Promise<Load> {
    const load = startLoad(this.lab, client, options)
    this.loads.push(load)
    await load.ready
    return load
  }

  /** What differs from before, on every host; empty when all is as it was found. */
  async leftovers(): Promise<string[]> {
    return differences(this.found, await takeSnapshot(this.lab))
  }

  /** As before the first command: nginx on old1 and not on new1, and the controller knows of no finished move. */
  async reset(): Promise<void> {
    await this.shell('controller', 'rm -rf /root/.local/state/fleetmove')
    await this.shell(
      'new1',
      'if [ -e /run/nginx.pid ]; then nginx -s quit; while pgrep -x nginx; do sleep 0.05; done; fi',
    )
    await this.shell('old1', 'pgrep -x nginx || nginx')
  }

  /** Everything that was started in the lab ends with it. */
  async end(): Promise<void> {
    for (const load of this.loads) load.abandon()
    for (const child of this.children) child.kill('SIGKILL')
    await labDown(this.lab.name)
  }

  /** Starts echo.pl in a host (or inside of `wrap`); `binds` are `tcp 0.0.0.0 7001`. Resolves when it listens. */
  async serve(host: string, name: string, binds: string[], wrap: string[] = []): Promise<ChildProcess> {
    const argv = [...wrap, 'perl', fixture('echo.pl'), name, ...binds.flatMap((bind) => bind.split(' '))]
    const child = this.spawn(host, argv)
    await this.ready(child)
    return child
  }

  /**
   * Starts a server in a network namespace behind a bridge, its port 8080 published at port 88 of the host by
   * rules such as Docker makes. Resolves when it says that it is ready.
   * @returns the process whose network namespace it is
   */
  async container(host: string, protocols: readonly ('tcp' | 'udp')[], argv: readonly string[]): Promise<string> {
    await this.shell(
      host,
      `ip link add docker0 type bridge && ip addr add 172.17.0.1/16 dev docker0 && ip link set docker0 up
echo 1 >/proc/sys/net/ipv4/ip_forward
nft -f - <<'END'
table ip docker {
  chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local jump publish; }
  chain output { type nat hook output priority -100; ip daddr != 127.0.0.0/8 fib daddr type local jump publish; }
  chain publish {
    iifname docker0 return
    ${protocols.map((protocol) => `${protocol} dport 88 dnat to 172.17.0.2:8080`).join('\n    ')}
  }
  chain postrouting { type nat hook postrouting priority srcnat; ip saddr 172.17.0.0/16 oifname != docker0 masquerade; }
}
END`,
    )
    // The namespace is made first; the server starts in it when its link is there.
    const script = `echo "pid $$"; read -r go
ip link set lo up && ip addr add 172.17.0.2/16 dev eth0 && ip link set eth0 up && ip route add default via 172.17.0.1
exec "$@"`
    const child = this.spawn(host, ['unshare', '-n', 'bash', '-c', script, 'bash', ...argv])
    const pid = await new Promise<string>((resolve) => {
      child.stdout?.on('data', (chunk: Buffer) => {
        const found = /^pid (\d+)$/m.exec(chunk.toString())
        if (found) resolve(found[1]!)
      })
    })
    await this.shell(
      host,
      `ip link add veth0 type veth peer name eth0 netns ${pid} && ip link set veth0 master docker0 up`,
    )
    const ready = this.ready(child)
    child.stdin?.write('go\n')
    await ready
    return pid
  }

  spawn(host: string, argv: readonly string[]): ChildProcess {
    const child = this.lab.spawn(host, argv)
    this.children.add(child)
    child.once('exit', () => this.children.delete(child))
    return child
  }

  ready(child: ChildProcess): Promise<void> {
    return new Promise((resolve, reject) => {
      let said = ''
      child.stderr?.on('data', (chunk: Buffer) => {
        said += chunk
      })
      child.stdout?.on('data', (chunk: Buffer) => {
        if (chunk.toString().includes('ready\n')) resolve()
      })
      child.once('exit', (code) => reject(new Error(`ended with ${code}: ${said}`)))
    })
  }

  /** Makes calls from a client, up to 16 at a time; the calls of an inner list at once. */
  async ask<T extends Call | Call[]>(
    client: string,
    calls: readonly T[],
  ): Promise<(T extends Call[] ? Answer[] : Answer)[]> {
    const result = await this.lab.exec(client, ['node', fixture('client.mjs'), 'ask'], {
      input: JSON.stringify(calls),
      timeoutMs: 90_000,
    })
    if (result.code !== 0) throw new Error(result.stderr)
    return JSON.parse(result.stdout)
  }

  /** Opens connections to `address:port` that talk all the time. `end` closes them and tells what they saw. */
  async hold(client: string, targets: readonly string[]): Promise<() => Promise<Held[]>> {
    const child = this.spawn(client, ['node', fixture('client.mjs'), 'hold', ...targets])
    let out = ''
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk
    })
    await this.ready(child)
    return () =>
      new Promise((resolve) => {
        child.once('close', () => resolve(JSON.parse(out.slice(out.indexOf('ready\n') + 6))))
        child.stdin?.end()
      })
  }
}

/** Waits for a condition; throws when it doesn't come true in time. */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
  timeoutMs = 60_000,
): Promise<void> {
  const end = Date.now() + timeoutMs
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
