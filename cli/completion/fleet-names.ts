/** Names out of a fleet.yaml that may be half written: completion asks while the operator still edits. */
import { readFile } from 'node:fs/promises'
import { parseDocument } from 'yaml'
import type { Candidate } from './candidates.js'

/** `hosts` also has the SSH destinations, for `init`; nothing where the file can't be read. */
export async function fleetNames(file: string): Promise<{ services: Candidate[]; hosts: Candidate[] }> {
  try {
    const text = await readFile(file, 'utf8')
    const content = parseDocument(text, { logLevel: 'silent' }).toJS({ maxAliasCount: 100 }) as unknown
    return {
      services: entries(content, 'services').map(([word, entry]) => ({
        word,
        description: ['from', 'to'].map((key) => textOf(entry, key)).join(' → '),
      })),
      hosts: entries(content, 'hosts').map(([word, entry]) => ({ word, description: textOf(entry, 'ssh') })),
    }
  } catch {
    return { services: [], hosts: [] }
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/** Names with a sign in them that a shell would take for its own are none of fleetmove's. */
const entries = (content: unknown, key: string): [string, unknown][] => {
  const part = isRecord(content) ? content[key] : undefined
  return isRecord(part) ? Object.entries(part).filter(([name]) => /^[\w-]+$/.test(name)) : []
}

const textOf = (entry: unknown, key: string): string => {
  const value = isRecord(entry) ? entry[key] : undefined
  return typeof value === 'string' ? value.replace(/[^\x20-\x7e]/g, '?') : ''
}
