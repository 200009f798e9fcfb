/** What a bench is: a file that measures one thing and returns rows. To add one, write it and list it in benches.ts. */

export interface Bench {
  /** As it is asked for: npm run bench -- NAME. */
  name: string
  /** One line: what is measured, and against what. */
  description: string
  run(options: BenchOptions): Promise<BenchTable[]>
}

export interface BenchOptions {
  /** How often each thing is done; undefined: as often as the bench thinks right. */
  rounds: number | undefined
  /** What is under way, for people. */
  say(text: string): void
}

export interface BenchTable {
  title: string
  /** Each with the same keys, which are the columns; units stand in the key, e.g. `longest ms`. */
  rows: Record<string, string | number>[]
  /** What one must know to read it. */
  notes: string[]
}

/** The value below which a share of the sorted values lies. */
export const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN

/** `p50 / p99 / max` in whole units. */
export function spread(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b)
  return [0.5, 0.99, 1].map((share) => percentile(sorted, share).toFixed(0)).join(' / ')
}

export const median = (values: readonly number[]): number =>
  percentile(
    [...values].sort((a, b) => a - b),
    0.5,
  )

/** `median (least to most)` */
export const range = (values: readonly number[], digits = 2): string =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)})`
