/** What the end-to-end tests share: a practice network, the built command line in its controller, load, and a look at what is left. */
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
/** The built command line, also as the practice hosts see it. */
export const main = join(process.env.FLEETMOVE_DIST ?? join(root, 'dist'), 'cli', 'main.js')

/** Why these tests can't run here; undefined where they can. */
export function whyNot(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'namespaces need root on Linux'
  return existsSync(main) ? undefined : `there is no ${main}: npm run build`
}

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
  /** The JSON lines of stdout. */
  events: Event[]
  stderr: string
}

export interface Event {
  type: string
  [key: string]: unknown
}

export interface RunOptions {
  /** Called with each line as it comes. */
  onEvent?: (event: Event) => void
}

export class Practice {
  private readonly loads: Load[] = []

  private found: Snapshot = {}

  constructor(readonly lab: Lab) {}

  /** This is how `leftovers` wants the hosts to be. */
  async remember(): Promise<void> {
    this.found = await takeSnapshot(this.lab)
  }

  /** Runs fleetmove in the controller to its end, with --json. */
  run(words: string, options: RunOptions = {}): Promise<Ended> {
    return this.start(words, options).ended
  }

  /** Starts fleetmove in the controller; `kill` is SIGKILL. */
  start(words: string, { onEvent }: RunOptions = {}): { ended: Promise<Ended>; kill: () => void } {
    const child = this.lab.spawn('controller', [process.execPath, main, ...words.split(' '), '--json'])
    const events: Event[] = []
    let stderr = ''
    child.stdin?.end()
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
    })
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const event = JSON.parse(line) as Event
      events.push(event)
      onEvent?.(event)
    })
    const ended = new Promise<Ended>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code, signal) => resolve({ code: exitCode(code, signal), events, stderr }))
    })
    return { ended, kill: () => void child.kill('SIGKILL') }
  }

  /** Runs it, and throws with all that it said unless the exit code is the one given. */
  async expect(words: string, code = 0, options: RunOptions = {}): Promise<Ended> {
    const ended = await this.run(words, options)
    if (ended.code === code) return ended
    const said = ended.events.map((event) => JSON.stringify(event)).join('\n')
    throw new Error(`fleetmove ${words}: exit code ${ended.code} in place of ${code}\n${ended.stderr}\n${said}`)
  }

  async shell(host: string, script: string): Promise<string> {
    const { code, stdout, stderr } = await this.lab.exec(host, ['sh', '-c', script], { timeoutMs: 20_000 })
    if (code !== 0) throw new Error(`${host}: ${script}: exit code ${code}: ${stderr}`)
    return stdout
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

  async end(): Promise<void> {
    for (const load of this.loads) load.abandon()
    await labDown(this.lab.name)
  }
}

/** Waits for a condition; throws when it doesn't come true in time. */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
  timeoutMs = 15_000,
): Promise<void> {
  const end = Date.now() + timeoutMs
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
