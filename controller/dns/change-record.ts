/** Changes the addresses of one name: by RFC 2136 through nsupdate(1), or by the operator's own command. */
import { execFile } from 'node:child_process'
import { access, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import type { Fleet, NameServer } from '../config/fleet.js'
import { recordType } from '../plan/dns-verdict.js'
import type { RecordState } from './records.js'

/** What a record is to be: all of its addresses and how long they may be kept. */
export interface WantedRecord {
  readonly state: RecordState
  /** As the zone's servers have them now. */
  readonly before: readonly Ip[]
  readonly after: readonly Ip[]
  readonly ttlSeconds: number
}

/** An update crosses the network once; a provider's interface may be slow. */
const patienceMs = 60_000

/**
 * @throws FleetmoveError('usage') where fleet.yaml doesn't say how, or the key can't be used;
 *   ('conflict') when the record has changed meanwhile; ('unreachable') when the update wasn't taken
 */
export async function changeRecord(fleet: Fleet, wanted: WantedRecord): Promise<void> {
  const { means } = fleet.dns
  if (means === undefined) {
    throw new FleetmoveError('usage', {
      message: `fleet.yaml doesn't say how the record of ${wanted.state.name} is changed`,
      hint: 'write dns.update (RFC 2136 with a TSIG key) or dns.hook (a command) into it, or change the record by hand',
    })
  }
  if (means.kind === 'hook') return runHook(fleet, means.command, wanted)
  const server = means.server ?? wanted.state.zone.primary
  if (server === undefined) {
    throw new FleetmoveError('usage', {
      message: `the primary server of ${wanted.state.zone.zone} has no address that could be found`,
      hint: 'name it with dns.update.server in fleet.yaml',
    })
  }
  await update(server, await usableKey(means.key), wanted)
}

async function usableKey(key: string): Promise<string> {
  const path = key.startsWith('~/') ? join(homedir(), key.slice(2)) : key
  const refuse = (why: string, hint: string, cause?: unknown): FleetmoveError =>
    new FleetmoveError('usage', { message: `the TSIG key ${path} ${why}`, hint, cause })
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw refuse(`can't be read: ${cause.code}`, 'correct dns.update.key in fleet.yaml', cause)
  })
  if (!found.isFile()) throw refuse('is not a file', 'name the file that tsig-keygen wrote')
  if ((found.mode & 0o077) !== 0) throw refuse('is open to others than its owner', `close it: chmod 600 ${path}`)
  await access(path).catch((cause) => {
    throw refuse("can't be read", 'make it readable for you', cause)
  })
  return path
}

/** The text of one atomic update; refused by the server unless the record is as we have seen it (RFC 2136 2.4.2). */
export function updateScript(server: NameServer, { state, before, after, ttlSeconds }: WantedRecord): string {
  const type = recordType(state.family)
  const owner = `${state.zone.owner}.`
  return [
    `server ${server.ip} ${server.port}`,
    `zone ${state.zone.zone}.`,
    ...before.map((address) => `prereq yxrrset ${owner} ${type} ${address}`),
    ...(before.length === 0 ? [`prereq nxrrset ${owner} ${type}`] : []),
    `update delete ${owner} ${type}`,
    ...after.map((address) => `update add ${owner} ${ttlSeconds} ${type} ${address}`),
    'send',
    '',
  ].join('\n')
}

async function update(server: NameServer, key: string, wanted: WantedRecord): Promise<void> {
  const { name } = wanted.state
  try {
    await run('nsupdate', ['-k', key], process.env, updateScript(server, wanted))
  } catch (error) {
    const { code, output } = error as RunFailed
    if (code === 'ENOENT') {
      throw new FleetmoveError('usage', {
        message: 'nsupdate is not installed on this machine',
        hint: 'install it (bind9-dnsutils on Debian, bind-utils on Fedora), or use dns.hook in fleet.yaml',
      })
    }
    if (/NXRRSET|YXRRSET/.test(output)) {
      throw new FleetmoveError('conflict', {
        message: `the record of ${name} is not what it was a moment ago: somebody else has changed it`,
        hint: 'look with `fleetmove dns`, and run the command again',
      })
    }
    throw new FleetmoveError('unreachable', {
      message: `${server.ip} didn't take the change of ${name}: ${output || 'no answer'}`,
      hint: "check that the server allows updates of this zone with this key (BIND's update-policy), and its clock",
      cause: error,
    })
  }
}

async function runHook(fleet: Fleet, command: string, wanted: WantedRecord): Promise<void> {
  const { state, before, after, ttlSeconds } = wanted
  const env = {
    ...process.env,
    FLEETMOVE_FLEET: fleet.name,
    FLEETMOVE_SERVICE: state.service,
    FLEETMOVE_DNS_NAME: state.zone.owner,
    FLEETMOVE_DNS_ZONE: state.zone.zone,
    FLEETMOVE_DNS_TYPE: recordType(state.family),
    FLEETMOVE_DNS_BEFORE: before.join(' '),
    FLEETMOVE_DNS_ADDRESSES: after.join(' '),
    FLEETMOVE_DNS_TTL: String(ttlSeconds),
  }
  try {
    await run('/bin/sh', ['-c', command], env, '')
  } catch (error) {
    const { code, output } = error as RunFailed
    throw new FleetmoveError('health', {
      message: `dns.hook failed for ${state.name} (${code}): ${output || 'without a word'}`,
      hint: 'correct the command and run `fleetmove dns switch` again: what is done already is passed over',
      cause: error,
    })
  }
}

interface RunFailed {
  code: string
  output: string
}

const run = (program: string, args: string[], env: NodeJS.ProcessEnv, input: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const child = execFile(program, args, { env, timeout: patienceMs }, (error, stdout, stderr) => {
      if (!error) return resolve()
      const code = error.code === 'ENOENT' ? 'ENOENT' : (error.signal ?? `status ${error.code}`)
      reject(Object.assign(new Error(error.message), { code, output: `${stderr}${stdout}`.trim().slice(0, 2000) }))
    })
    // A program that is missing, or ends without reading.
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })
