/**
 * Everything that was done on the way, for `report`: runs, changes host by host, proofs with receipts, and
 * arrivals. Beside the journal (journal.ts), which every command reads and which must stay short.
 */
import { randomBytes } from 'node:crypto'
import { appendFile, mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type ErrorCode, FleetmoveError } from '../proto/model/error.js'
import type { Protocol } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import type { Fleet } from './config/fleet.js'
import { parseLines, recordPath } from './journal.js'
import { operator } from './lock.js'
import type { ArrivalRow } from './plan/arrivals-over-time.js'
import type { Progress } from './progress.js'

export type RecordEvent =
  /** A command began, as typed after `fleetmove`. One without an end was killed. */
  | { type: 'run'; run: string; command: string; operator: string }
  | { type: 'ran'; run: string; ms: number; outcome: 'done' | ErrorCode; message?: string }
  /** Files of ours on a host, and steps that changed its kernel; `undone` and `cleaned` are what was put back. */
  | { type: 'host'; host: Name; what: 'installed' | 'changed' | 'undone' | 'cleaned'; steps: string[] }
  /** New clients were kept waiting; `ms` is the longest that one can have waited. */
  | { type: 'hold'; service: Name; ms: number; clients: number; dropped: number }
  | { type: 'drain'; service: Name; host: Name; ms: number; left: number }
  | { type: 'proofs'; service: Name; proofs: RecordedProof[] }
  /** What a host's agent had written down, before it left. */
  | { type: 'arrivals'; host: Name; rows: ArrivalRow[] }

export type RecordEntry = RecordEvent & { at: string }

export interface RecordedProof {
  prober: string
  ingress: Name
  address: string
  protocol: Protocol
  port: number
  what: 'probe' | 'listener' | 'relay'
  bytes: number
  kind: string
  cause: string
  /** As the origin saw it. */
  receipt?: { source: string; sourcePort: number; destination: string; destinationPort: number; bytes: number }
}

/** Writes beside the work: what can't be written must not stop a move, nor keep held clients waiting. */
export class Recorder {
  private tail: Promise<unknown> = Promise.resolve()
  private failure: Error | undefined
  /** A line that another run has left unfinished is not to be gone on with. */
  private before = '\n'

  constructor(private readonly fleet: Fleet) {}

  add(event: RecordEvent): void {
    const text = `${this.before}${JSON.stringify({ at: new Date().toISOString(), ...event })}\n`
    this.before = ''
    const path = recordPath(this.fleet)
    this.tail = this.tail
      .then(async () => {
        await mkdir(dirname(path), { recursive: true, mode: 0o700 })
        await appendFile(path, text, { mode: 0o600 })
      })
      .catch((error: Error) => {
        this.failure ??= error
      })
  }

  /** Resolves when everything is written; a failure is told, once. */
  async flush(progress: Progress): Promise<void> {
    await this.tail
    if (this.failure) progress.note('record', `what report tells will have gaps: ${this.failure.message}`)
    this.failure = undefined
  }
}

/** Writes down that a command was run, by whom, and how it ended. */
export async function recorded<T>(
  { fleet, progress }: { fleet: Fleet; progress: Progress },
  command: string,
  work: () => Promise<T>,
  judge: (result: T) => 'done' | ErrorCode = () => 'done',
): Promise<T> {
  const recorder = new Recorder(fleet)
  const run = randomBytes(4).toString('hex')
  const begun = performance.now()
  const end = (outcome: { outcome: 'done' | ErrorCode; message?: string }): void =>
    recorder.add({ type: 'ran', run, ms: Math.round(performance.now() - begun), ...outcome })
  recorder.add({ type: 'run', run, command, operator: operator() })
  try {
    const result = await work()
    end({ outcome: judge(result) })
    return result
  } catch (error) {
    end({ outcome: codeOf(error), message: (error as Error).message })
    throw error
  } finally {
    await recorder.flush(progress)
  }
}

function codeOf(error: unknown): ErrorCode {
  const first = error instanceof AggregateError ? (error.errors[0] as unknown) : error
  return first instanceof FleetmoveError ? first.code : 'internal'
}

/** All entries, oldest first; a line that a crash tore is passed over. */
export async function readRecord(fleet: Fleet): Promise<RecordEntry[]> {
  const text = await readFile(recordPath(fleet), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  return parseLines<RecordEntry>(text)
}
