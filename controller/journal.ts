/**
 * What this machine did with a fleet, a line of JSON each: for `status` once the hosts are clean, and
 * for `report`. The hosts' ledgers decide what is so; the journal only remembers.
 */
import { appendFile, mkdir, readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Stage } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import type { Fleet } from './config/fleet.js'
import type { Side } from './plan/dns-verdict.js'

export type JournalEvent =
  | { type: 'stage'; service: Name; stage: Stage }
  /** Addresses from which fleetmove itself probed, and for how long until this was noted: no client's arrivals. */
  | {
      type: 'proof'
      service: Name
      ok: boolean
      preserved: number
      total: number
      probers: string[]
      /** Absent in entries of versions before this one. */
      tookMs?: number
    }
  | { type: 'switch'; service: Name; to: Name; ms: number }
  /** A look at a record's own servers. `owner` has no aliases in it. */
  | { type: 'dns'; owner: string; record: 'A' | 'AAAA'; side: Side; ttlSeconds: number }
  /** A record that fleetmove has changed. */
  | {
      type: 'dns-change'
      owner: string
      record: 'A' | 'AAAA'
      what: 'ttl' | 'addresses'
      ttlBefore: number
      ttlSeconds: number
    }

export type JournalEntry = JournalEvent & { at: string }

/** XDG Base Directory: state that is worth keeping, and no configuration. */
const directory = (): string => join(process.env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'fleetmove')
export const journalPath = (fleet: Fleet): string => join(directory(), `${fleet.name}.jsonl`)
/** The details, for `report` (record.ts). */
export const recordPath = (fleet: Fleet): string => join(directory(), `${fleet.name}.record.jsonl`)

export async function journal(fleet: Fleet, event: JournalEvent): Promise<void> {
  await mkdir(directory(), { recursive: true, mode: 0o700 })
  await appendFile(journalPath(fleet), `${JSON.stringify({ at: new Date().toISOString(), ...event })}\n`, {
    mode: 0o600,
  })
}

/** All entries, oldest first; a line that a crash tore is passed over. */
export async function readJournal(fleet: Fleet): Promise<JournalEntry[]> {
  const text = await readFile(journalPath(fleet), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  return parseLines<JournalEntry>(text)
}

/** What a crash has torn is no JSON. */
export function parseLines<T>(text: string): T[] {
  return text.split('\n').flatMap((line) => {
    try {
      return line === '' ? [] : [JSON.parse(line) as T]
    } catch {
      return []
    }
  })
}

/** The last stage that this machine has brought a service to. */
export function lastStage(entries: readonly JournalEntry[], service: Name): Stage | undefined {
  const last = entries.filter((entry) => entry.type === 'stage' && entry.service === service).at(-1)
  return last?.type === 'stage' ? last.stage : undefined
}

/** The hosts know nothing any more of services that are finalized. */
export async function finalizedServices(fleet: Fleet): Promise<Set<Name>> {
  const entries = await readJournal(fleet)
  return new Set([...fleet.services.keys()].filter((name) => lastStage(entries, name) === 'finalized'))
}
