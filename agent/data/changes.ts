/**
 * What a directory holds and what was written there since a moment, by find(1): it looks at a million
 * files in seconds, beside the agent instead of in it.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { FleetmoveError } from '../../proto/model/error.js'
import { outside } from '../kernel/outside.js'
import { toolPath } from '../kernel/tool.js'

export interface Found {
  /** The first ones, relative to the directory; '.' is itself. */
  names: string[]
  /** At most `countLimit`. */
  total: number
}

const print = ['-printf', '%P\\0']
/** As find(1) reads it; its comparison is strict. */
const timestamp = (us: number): string => `@${Math.floor(us / 1e6)}.${String(us % 1e6).padStart(6, '0')}`

const namesShown = 20
const countLimit = 10_000

/**
 * Entries whose ctime is later: written, renamed, linked, or with other attributes. Whatever goes away
 * changes the directory that it was in. Unlike the modification time no program can set ctime.
 * @param atUs microseconds since 1970
 */
export const changedSince = (directory: string, atUs: number): Promise<Found> =>
  find(directory, ['-newerct', timestamp(atUs), ...print], countLimit)

/** Files and symbolic links; directories, sockets, pipes and devices hold nothing that can be lost. */
export const heldFiles = (directory: string): Promise<Found> =>
  find(directory, ['(', '-type', 'f', '-o', '-type', 'l', ')', ...print], 4)

/** Sets the mtime of files that have this one or a later one to 1970, so that rsync compares what is in them. */
export async function forgetTimes(directory: string, sinceUs: number): Promise<void> {
  const touch = ['-exec', 'touch', '--no-create', '--date=@0', '--', '{}', '+']
  await find(directory, ['-type', 'f', '-newermt', timestamp(sinceUs - 1), ...touch], countLimit, true)
}

/** A name as it may stand in a message. */
export const printable = (name: string): string =>
  name.replace(/\p{Cc}/gu, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)

/** @param writes whether the expression changes files, which the agent's sandbox forbids */
function find(directory: string, expression: readonly string[], limit: number, writes = false): Promise<Found> {
  const plain = ['find', '-P', directory, ...expression]
  const argv = writes ? outside(plain, { unit: `fleetmove-find-${randomBytes(4).toString('hex')}` }) : plain
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0]!, argv.slice(1), {
      env: { PATH: toolPath, LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const found: Found = { names: [], total: 0 }
    let rest = ''
    let complaints = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      const names = (rest + chunk).split('\0')
      rest = names.pop()!
      for (const name of names) {
        if (found.total === limit) {
          child.kill()
          return
        }
        found.total++
        if (found.names.length < namesShown) found.names.push(name === '' ? '.' : printable(name))
      }
    })
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      if (complaints.length < 4096) complaints += chunk
    })
    child.once('error', (cause) => reject(failed(directory, cause.message)))
    child.once('close', (code) => {
      // What ends while it is looked at is no failure.
      const lines = complaints.split('\n').filter((line) => line !== '' && !line.endsWith('No such file or directory'))
      if (code !== 0 && found.total < limit && lines.length > 0) reject(failed(directory, lines[0]!))
      else resolve(found)
    })
  })
}

const failed = (directory: string, reason: string): FleetmoveError =>
  new FleetmoveError('internal', {
    message: `can't look through ${directory}: ${reason}`,
    hint: 'install the package findutils (GNU find)',
  })
