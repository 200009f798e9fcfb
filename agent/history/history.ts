/**
 * How many connections were opened by this host's address, over time, also while no controller looks: the
 * kernel's counters, read every few seconds, and written to a file of bounded size.
 *
 * A line is one span of one service with something in it: a JSON array, in the order of `line`. Lines are
 * appended; a torn last one is passed over. What a dead agent has missed counts from its last line on.
 */
import { appendFile, readFile, rename, writeFile } from 'node:fs/promises'
import type { OpenedCount } from '../flows/arrivals.js'
import { type Arrived, thin } from './thin.js'

/** About 1 MB of lines. */
const mostRows = 16_000

const line = ({ service, from, to, forwarded, served, total }: Arrived): string =>
  `${JSON.stringify([service, from, to, forwarded, served, total.forwarded, total.served])}\n`

function parseLine(text: string): Arrived[] {
  try {
    const [service, ...numbers] = JSON.parse(text) as unknown[]
    if (typeof service !== 'string' || numbers.length !== 6) return []
    if (!numbers.every((each) => Number.isSafeInteger(each))) return []
    const [from, to, forwarded, served, totalForwarded, totalServed] = numbers as number[]
    const total = { forwarded: totalForwarded!, served: totalServed! }
    return [{ service, from: from!, to: to!, forwarded: forwarded!, served: served!, total }]
  } catch {
    return []
  }
}

/** The part of `now` that is new since `before`; the table may have been made anew since, with counters at 0. */
const since = (before: number | undefined, now: number): number =>
  before === undefined || now < before ? now : now - before

export interface HistoryOptions {
  path: string
  /** The kernel's counters, by service. */
  read: () => Promise<ReadonlyMap<string, OpenedCount>>
  clock?: () => number
  log?: (message: string, detail: Record<string, unknown>) => void
  most?: number
}

export class History {
  private readonly totals = new Map<string, OpenedCount>()
  private readonly begun: number
  private sampledAt: number
  private failed = false
  private queue: Promise<unknown> = Promise.resolve()

  private constructor(
    private readonly options: HistoryOptions,
    private kept: Arrived[],
  ) {
    const now = this.now()
    for (const { service, total } of kept) this.totals.set(service, total)
    this.begun = Math.min(now, kept[0]?.from ?? now)
    this.sampledAt = Math.min(now, kept.at(-1)?.to ?? now)
  }

  /** An absent file is an empty history. */
  static async open(options: HistoryOptions): Promise<History> {
    const text = await readFile(options.path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''
      throw error
    })
    return new History(options, text.split('\n').flatMap(parseLine))
  }

  /** All spans in which something came, the oldest first. */
  get rows(): readonly Arrived[] {
    return this.kept
  }

  /** Reads the counters and writes down what is new. A disk that is full costs the file and not the agent. */
  sample(): Promise<void> {
    const run = this.queue.then(() => this.take())
    this.queue = run.catch(() => {})
    return run
  }

  /** What came within the last `ms`, with the counters as they are now; of a shorter time when it began later. */
  recent(opened: ReadonlyMap<string, OpenedCount>, ms: number): { ms: number; counts: Map<string, OpenedCount> } {
    const now = this.now()
    const from = Math.max(now - ms, this.begun)
    const counts = new Map<string, OpenedCount>()
    for (const [service, count] of opened) counts.set(service, this.newOf(service, count))
    for (let i = this.kept.length - 1; i >= 0 && this.kept[i]!.to > from; i--) {
      const { service, forwarded, served } = this.kept[i]!
      const count = counts.get(service)
      if (!count) continue
      count.forwarded += forwarded
      count.served += served
    }
    return { ms: Math.max(1, now - from), counts }
  }

  private now(): number {
    return this.options.clock?.() ?? Date.now()
  }

  private newOf(service: string, { forwarded, served }: OpenedCount): OpenedCount {
    const before = this.totals.get(service)
    return { forwarded: since(before?.forwarded, forwarded), served: since(before?.served, served) }
  }

  private async take(): Promise<void> {
    const opened = await this.options.read()
    const now = this.now()
    const fresh = [...opened].flatMap(([service, total]): Arrived[] => {
      const count = this.newOf(service, total)
      this.totals.set(service, { ...total })
      if (count.forwarded === 0 && count.served === 0) return []
      return [{ service, from: Math.min(this.sampledAt, now), to: now, ...count, total: { ...total } }]
    })
    this.sampledAt = now
    if (fresh.length === 0) return
    this.kept.push(...fresh)
    await this.write(fresh, now)
  }

  private async write(fresh: readonly Arrived[], now: number): Promise<void> {
    const { path, most = mostRows, log } = this.options
    try {
      if (this.kept.length <= most && !this.failed) {
        await appendFile(path, fresh.map(line).join(''), { mode: 0o600 })
        return
      }
      // To the half, so that this is rare.
      if (this.kept.length > most) this.kept = thin(this.kept, now, most / 2)
      await writeFile(`${path}.new`, this.kept.map(line).join(''), { mode: 0o600 })
      await rename(`${path}.new`, path)
      this.failed = false
    } catch (error) {
      if (!this.failed) log?.('arrivals could not be written down', { error: (error as Error).message })
      // A line may have been written in part: the whole file next time.
      this.failed = true
    }
  }
}
