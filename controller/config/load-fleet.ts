/** fleet.yaml → Fleet, or everything that is wrong with it at once. */
import { FleetmoveError } from '../../proto/model/error.js'
import type { Name } from '../../proto/model/names.js'
import { fileProblem, readAtMost } from '../read-file.js'
import { checkAddresses } from './check-addresses.js'
import { checkListeners } from './check-listeners.js'
import { checkMovingAddresses } from './check-moving-addresses.js'
import { checkOrder } from './check-order.js'
import { checkRedirects } from './check-redirects.js'
import { checkReferences } from './check-references.js'
import { draftOf } from './draft.js'
import { explainIssues } from './explain-issues.js'
import type { DnsSettings, EgressSource, Fleet, FleetLog, Host, Lifecycle, Service, Vantage } from './fleet.js'
import { type PlacedProblem, readDocument } from './fleet-document.js'
import { type FleetEntry, fleetEntry, type ServiceEntry } from './fleet-schema.js'
import { pathText } from './problem.js'

const nameIt = 'name a readable fleet.yaml with -f FILE'
const initHint = 'have one written: fleetmove init OLD NEW -o fleet.yaml'

/** A fleet of thousands of services is far below; what is above was named by mistake. */
const largestFile = 4 * 1024 * 1024

/** Reads the file at `path` (UTF-8). Throws FleetmoveError('usage') when it can't be read or isn't sound. */
export async function loadFleet(path: string): Promise<Fleet> {
  if (path === '') throw new FleetmoveError('usage', { message: '--file: found nothing, allowed a path', hint: nameIt })
  const bytes = await readAtMost(path, largestFile).catch((cause: NodeJS.ErrnoException) => {
    const missing = cause.code === 'ENOENT'
    throw new FleetmoveError('usage', {
      message: missing ? `${path}: there is no such file` : `${path} can't be read: ${fileProblem(cause)}`,
      hint: missing ? `${initHint}; or name another with -f FILE` : nameIt,
      cause,
    })
  })
  if (bytes.length > largestFile) {
    throw new FleetmoveError('usage', {
      message: `${path} is too large: found more than ${largestFile} bytes, and no fleet needs so many`,
      hint: nameIt,
    })
  }
  return parseFleet(decode(bytes, path), path)
}

function decode(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new FleetmoveError('usage', { message: `${path} is not UTF-8 text`, hint: 'save it as UTF-8', cause })
  }
}

/**
 * Reads the text of a fleet file. Throws one FleetmoveError('usage') whose message has a line an error, in
 * the file's order: `fleet.yaml:12:9: services.web.listen[1]: found …, allowed …`. `path` only names the file.
 */
export function parseFleet(text: string, path: string): Fleet {
  const document = readDocument(text)
  if (document.data === undefined) throw refuse(path, document.problems)
  if (document.data === null) {
    const problem = { line: 1, column: 1, text: 'found nothing, allowed a mapping with fleet, hosts and services' }
    throw refuse(path, [...document.problems, problem], initHint)
  }
  const parsed = fleetEntry.safeParse(document.data)
  const draft = draftOf(document.data)
  const problems = [
    ...explainIssues(parsed.error?.issues ?? [], document.data),
    ...checkReferences(draft),
    ...checkAddresses(draft),
    ...checkListeners(draft),
    ...checkMovingAddresses(draft),
    ...checkRedirects(draft),
    ...checkOrder(draft),
  ].map((problem): PlacedProblem => {
    const where = pathText(problem.path)
    const place = document.place(problem.path, problem.at)
    return { ...place, text: where === '' ? problem.text : `${where}: ${problem.text}` }
  })
  const all = [...document.problems, ...problems]
  if (all.length > 0 || !parsed.success) throw refuse(path, all)
  return fleetOf(parsed.data)
}

function refuse(path: string, problems: readonly PlacedProblem[], hint?: string): FleetmoveError {
  const inOrder = [...problems].sort((a, b) => a.line - b.line || a.column - b.column)
  const lines = inOrder.map(({ line, column, text }) => `${path}:${line}:${column}: ${text}`)
  return new FleetmoveError('usage', {
    // Two services may miss the same key of one host.
    message: [...new Set(lines)].join('\n'),
    hint: hint ?? `correct ${path} and try again; fleetmove schema prints a JSON Schema with which editors check it`,
  })
}

/** The keys of a record are what its schema made of them; Object.entries forgets that. */
const byName = <Entry, Made>(record: Record<Name, Entry>, make: (name: Name, entry: Entry) => Made): Map<Name, Made> =>
  new Map((Object.entries(record) as [Name, Entry][]).map(([name, entry]) => [name, make(name, entry)]))

function fleetOf(entry: FleetEntry): Fleet {
  return {
    name: entry.fleet,
    hosts: byName(
      entry.hosts,
      (name, { ssh, become, addresses, direct }): Host => ({ name, ssh, become, addresses, direct }),
    ),
    tunnel: entry.tunnel,
    dns: dnsOf(entry.dns),
    ...(entry.log ? { log: logOf(entry.log) } : {}),
    services: byName(entry.services, serviceOf),
    vantages: byName(entry.vantages ?? {}, (name, { ssh }): Vantage => ({ name, ssh })),
  }
}

const logOf = ({ connections, metrics }: NonNullable<FleetEntry['log']>): FleetLog => ({
  ...(connections === undefined ? {} : { connections }),
  ...(metrics === undefined ? {} : { metrics }),
})

function dnsOf({ resolvers, ttl, update, hook }: FleetEntry['dns']): DnsSettings {
  const means: DnsSettings['means'] = update
    ? { kind: 'update', server: update.server, key: update.key }
    : hook === undefined
      ? undefined
      : { kind: 'hook', command: hook }
  return { resolvers, ttlSeconds: Math.max(1, Math.round(ttl / 1000)), means }
}

function serviceOf(name: Name, entry: ServiceEntry): Service {
  return {
    name,
    from: entry.from,
    to: entry.to,
    listen: entry.listen.map(({ protocol, ports, old, new: after, helper }) => ({
      protocol,
      ports,
      oldPort: old,
      newPort: after,
      helper,
    })),
    addresses: entry.addresses?.map((mapping) => ({ old: mapping.old, new: mapping.new })),
    movesAddress: entry.address === 'move',
    strategy: entry.strategy,
    holdMs: entry.hold,
    drainMs: entry.drain,
    drainThen: entry.drain_then,
    redirect: entry.redirect && {
      to: entry.redirect.to,
      ports: entry.redirect.listen?.map(({ ports }) => ports.from) ?? [80],
    },
    lifecycle: lifecycleOf(entry),
    health: entry.health,
    wave: entry.wave,
    names: entry.names ?? [],
    after: entry.after ?? [],
    data: entry.data ?? [],
    egress: entry.egress,
    egressFrom: entry.egress_from ?? ownProcesses(entry),
    localhost: entry.localhost,
    hooks: {
      beforeMove: entry.hooks?.before_move,
      afterMove: entry.hooks?.after_move,
      onRollback: entry.hooks?.on_rollback,
    },
    check: entry.check,
  }
}

/** What a unit or a container opens is the service's own; else what those open who listen on its ports. */
function ownProcesses({ egress, unit, container }: ServiceEntry): EgressSource | undefined {
  if (egress === undefined) return undefined
  if (unit !== undefined) return { kind: 'unit', unit }
  return container === undefined ? { kind: 'listeners', listeners: true } : { kind: 'container', container }
}

function lifecycleOf({ unit, container, compose, run }: ServiceEntry): Lifecycle | undefined {
  if (unit !== undefined) return { kind: 'unit', unit }
  if (container !== undefined) return { kind: 'container', container }
  if (compose !== undefined) return { kind: 'compose', composeFile: compose.file, composeService: compose.service }
  return run === undefined ? undefined : { kind: 'run', start: run.start, stop: run.stop }
}
