/** A load of new connections to any TCP server of a practice network, and what became of them. */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { Practice } from './practice.js'

export interface Openings {
  target: string
  opened: number
  /** How, and when it began, in ms since 1970. */
  failed: { error: string; at: number }[]
  /** From the first SYN to the first byte heard, in ms, ascending. */
  waits: number[]
  /** Each of them, where `sources` were given. */
  openings?: Opening[]
}

export interface Opening {
  /** When it began, in ms since 1970. */
  at: number
  ms: number
  error: string
  from: string
  heard: string
}

export interface OpeningsOptions {
  /** `address:port`, IPv6 without brackets. */
  targets: readonly string[]
  perSecond: number
  /** What is sent when the connection stands, in hexadecimal. */
  say?: string
  /** So many bytes must come back; 0: it is enough to be connected. */
  hear?: number
  /** Addresses of the client, one after the other; each target is called from those of its family. */
  sources?: readonly string[]
  /** After which an opening has failed with `timeout`; 20,000 if left away. */
  patienceMs?: number
}

/** @returns a function that ends the load and tells how it went. */
export async function openAgainAndAgain(
  practice: Practice,
  client: string,
  options: OpeningsOptions,
): Promise<() => Promise<Openings[]>> {
  const program = join(__dirname, 'fixtures', 'openings.mjs')
  const child: ChildProcess = practice.spawn(client, ['node', program, JSON.stringify(options)])
  let said = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    said += chunk
  })
  await practice.ready(child)
  return () =>
    new Promise((resolve) => {
      child.once('close', () => resolve(JSON.parse(said.slice(said.indexOf('ready\n') + 6)) as Openings[]))
      child.stdin?.end()
    })
}

/** The value below which a share of the sorted values lies. */
export const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN

/** e.g. `1,234 opened, 0 failed; wait p50 1 ms, p99 812 ms, longest 901 ms` */
export function openingsText(reports: readonly Openings[]): string {
  const waits = reports.flatMap((report) => report.waits).sort((a, b) => a - b)
  const failed = reports.reduce((sum, report) => sum + report.failed.length, 0)
  const ms = (share: number): string => `${percentile(waits, share).toFixed(0)} ms`
  return `${waits.length} opened, ${failed} failed; wait p50 ${ms(0.5)}, p99 ${ms(0.99)}, longest ${ms(1)}`
}
