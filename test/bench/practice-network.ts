/** A practice network to measure in, and the built command line in its controller. */
import { join } from 'node:path'
import { labDown } from '../../cli/lab/down.js'
import type { Lab } from '../../cli/lab/lab.js'
import { labUp } from '../../cli/lab/up.js'
import { startLoad, type TargetReport } from '../load/client-load.js'

export interface Event {
  type: string
  what?: string
  ms?: number
  [key: string]: unknown
}

export class PracticeNetwork {
  private constructor(
    readonly lab: Lab,
    private readonly root: string,
  ) {}

  /** @param root of the repository, with a build in dist/ */
  static async start(name: string, root: string, timeoutMs = 60_000): Promise<PracticeNetwork> {
    return new PracticeNetwork(await labUp({ name: `bench-${name}-${process.pid}`, timeoutMs }), root)
  }

  async end(): Promise<void> {
    await labDown(this.lab.name)
  }

  async shell(host: string, script: string, timeoutMs = 30_000): Promise<string> {
    const { code, stdout, stderr } = await this.lab.exec(host, ['bash', '-c', script], { timeoutMs })
    if (code !== 0) throw new Error(`${host}: ${script}: exit code ${code}: ${stderr}`)
    return stdout
  }

  async fleet(fleet: object): Promise<void> {
    await this.lab.exec('controller', ['tee', '/root/fleet.yaml'], { input: JSON.stringify(fleet) })
  }

  /** fleetmove with --json, which must succeed. */
  async fleetmove(...words: string[]): Promise<Event[]> {
    const main = join(process.env.FLEETMOVE_DIST ?? join(this.root, 'dist'), 'cli', 'main.js')
    const argv = [process.execPath, main, ...words, '--json']
    const { code, stdout, stderr } = await this.lab.exec('controller', argv, { timeoutMs: 180_000 })
    if (code !== 0) throw new Error(`fleetmove ${words.join(' ')}: exit code ${code}: ${stderr}${stdout}`)
    return stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Event)
  }

  /** New connections to each target all the time while `work` is done, and for a moment before and after it. */
  async underLoad(
    client: string,
    targets: string[],
    perSecond: number,
    work: () => Promise<void>,
  ): Promise<TargetReport[]> {
    const program = [process.execPath, join(this.root, 'test', 'load', 'load.mjs')]
    const load = startLoad(this.lab, client, { targets, perSecond }, program)
    await load.ready
    await work()
    return load.stop()
  }
}
