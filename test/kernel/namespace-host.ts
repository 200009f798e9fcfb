import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Kills what is started behind it when the test's process dies, so that a crash leaves nothing. */
const bound = ['setpriv', '--pdeathsig', 'KILL']

/**
 * A host to test on: a network namespace and a mount namespace with its own /run and /var/lib, held
 * by a sleeping process. The second matters as much as the first: wireguard-go's socket directory is
 * found by path, and is the same for all network namespaces otherwise.
 */
export class NamespaceHost {
  private readonly started: ChildProcess[] = []
  private constructor(
    readonly name: string,
    private readonly holder: ChildProcess,
  ) {}

  static async start(name: string): Promise<NamespaceHost> {
    const prepare = 'mount -t tmpfs none /run && mount -t tmpfs none /var/lib && mkdir -p /run/wireguard /run/fleetmove'
    const script = `${prepare} && ip link set lo up && echo ready && exec sleep infinity`
    const [command, ...argv] = [...bound, 'unshare', '-n', '-m', '--propagation', 'private', 'sh', '-c', script]
    const holder = spawn(command!, argv, { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise<void>((resolve, reject) => {
      holder.stdout!.once('data', () => resolve())
      holder.once('exit', (code) => reject(new Error(`no namespaces for ${name}: unshare ended with ${code}`)))
    })
    return new NamespaceHost(name, holder)
  }

  private enter(argv: readonly string[]): string[] {
    return ['nsenter', '-t', String(this.holder.pid), '-n', '-m', ...argv]
  }

  /** Runs a command to its end and gives what it printed; throws when it fails. */
  async exec(...argv: string[]): Promise<string> {
    const [command, ...rest] = this.enter(argv)
    return (await run(command!, rest, { timeout: 60_000 })).stdout
  }

  /** Several lines of shell; the first that fails ends it. */
  sh(script: string): Promise<string> {
    return this.exec('sh', '-ec', script)
  }

  async succeeds(...argv: string[]): Promise<boolean> {
    return this.exec(...argv).then(
      () => true,
      () => false,
    )
  }

  /** Starts a process that lives until `end` or `stop`; what it prints is kept in `log`. */
  spawn(argv: readonly string[], env: Record<string, string> = {}): RunningProcess {
    const [command, ...rest] = [...bound, ...this.enter(argv)]
    const child = spawn(command!, rest, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env } })
    this.started.push(child)
    const running: RunningProcess = {
      log: '',
      say: (line) => void child.stdin.write(`${line}\n`),
      stop: (signal = 'SIGKILL') => ended(child, signal),
    }
    child.stdout.on('data', (chunk) => (running.log += chunk))
    child.stderr.on('data', (chunk) => (running.log += chunk))
    return running
  }

  /** A veth pair between two hosts, the same device name on both. */
  async join(other: NamespaceHost, device: string, otherDevice: string, mtu = 1500): Promise<void> {
    const peer = `peer name ${otherDevice} mtu ${mtu} netns ${other.holder.pid}`
    await this.sh(`ip link add ${device} mtu ${mtu} type veth ${peer}; ip link set ${device} up`)
    await other.sh(`ip link set ${otherDevice} up`)
  }

  async end(): Promise<void> {
    await Promise.all([...this.started, this.holder].map((child) => ended(child, 'SIGKILL')))
  }
}

export interface RunningProcess {
  log: string
  /** Writes a line to its stdin. */
  say(line: string): void
  stop(signal?: NodeJS.Signals): Promise<void>
}

const ended = (child: ChildProcess, signal: NodeJS.Signals): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.once('exit', () => resolve())
    child.kill(signal)
  })

/** Asks again until the answer is true; the deadline is the failure. */
export const until = async (what: string, limitMs: number, ask: () => Promise<boolean>): Promise<number> => {
  const begin = performance.now()
  while (!(await ask())) {
    if (performance.now() - begin > limitMs) throw new Error(`${what}: not within ${limitMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return performance.now() - begin
}
