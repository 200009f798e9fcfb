/** Runs load.mjs on a client of the practice network, and judges its report. */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Lab } from '../../cli/lab/lab.js'

/** See load.mjs. */
export interface LoadOptions {
  targets: string[]
  perSecond: number
  keepAlive?: number
  downloads?: number
  /** At the most; 180 if left away. */
  seconds?: number
  /** How many times longer than usual an answer may take; 1 if left away. */
  patience?: number
}

export interface TargetReport {
  address: string
  connections: number
  failed: number
  errors: Record<string, number>
  wrongSource: number
  wrong: string[]
  answeredBy: Record<string, number>
  slow: string[]
  held: number
  long: number
  survived: number
  torn: string[]
  p50: number
  p99: number
  longest: number
}

const readyMs = 20_000

/** test/load/load.mjs, on a client. */
export class Load {
  readonly ready: Promise<void>
  private readonly report: Promise<TargetReport[]>

  constructor(
    private readonly child: ChildProcess,
    patience = 1,
  ) {
    let stderr = ''
    let report: TargetReport[] | undefined
    let begin = (): void => {}
    let fail = (_error: Error): void => {}
    this.ready = new Promise((resolve, reject) => {
      const late = (): void => reject(new Error('not every target answers, or not every long connection stands'))
      const timer = setTimeout(late, readyMs * patience)
      begin = () => {
        clearTimeout(timer)
        resolve()
      }
      fail = (error) => {
        clearTimeout(timer)
        reject(error)
      }
    })
    this.ready.catch(() => {})
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
    })
    child.stdin?.on('error', () => {})
    createInterface({ input: child.stdout! }).on('line', (line) => {
      if (line === 'ready') begin()
      else report = (JSON.parse(line) as { targets: TargetReport[] }).targets
    })
    this.report = new Promise((resolve, reject) => {
      child.on('close', () => {
        const error = new Error(`the load ended early: ${stderr}${JSON.stringify(report)}`)
        fail(error)
        if (report) resolve(report)
        else reject(error)
      })
    })
    this.report.catch(() => {})
  }

  /** The long connections have lived as long as they were to. */
  endLong(): void {
    this.child.stdin?.write('end-long\n')
  }

  stop(): Promise<TargetReport[]> {
    this.child.stdin?.write('stop\n')
    return this.report
  }

  abandon(): void {
    this.child.kill('SIGKILL')
  }
}

/** All that is wrong with what clients saw; empty when nothing is. */
export function complaints(report: readonly TargetReport[]): string[] {
  return report.flatMap(({ address, failed, errors, wrong, wrongSource, held, long, survived, torn, connections }) => [
    ...(connections === 0 && long === 0 ? [`${address}: nothing was tried`] : []),
    ...(failed > 0 ? [`${address}: ${failed} of ${connections} failed: ${JSON.stringify(errors)}`] : []),
    ...(wrongSource > 0 ? [`${address}: ${wrongSource} of ${connections} by a wrong source: ${wrong.join('; ')}`] : []),
    ...(held > 0 ? [`${address}: ${held} not even opened`] : []),
    ...(survived < long ? [`${address}: ${survived} of ${long} long ones survived: ${torn.join('; ')}`] : []),
  ])
}

/** How many connections each host answered, over all targets. */
export function answeredBy(report: readonly TargetReport[]): Record<string, number> {
  const sum: Record<string, number> = {}
  for (const target of report)
    for (const [host, count] of Object.entries(target.answeredBy)) sum[host] = (sum[host] ?? 0) + count
  return sum
}

/** @param program Node and load.mjs, as the client has them */
export function startLoad(
  hosts: Pick<Lab, 'spawn'>,
  client: string,
  options: LoadOptions,
  program: readonly string[] = [process.execPath, join(__dirname, 'load.mjs')],
): Load {
  const seconds = 180 * (options.patience ?? 1)
  return new Load(hosts.spawn(client, [...program, JSON.stringify({ seconds, ...options })]), options.patience)
}
