/**
 * Keeps the sets by which connections of units and containers are chosen (agent/plan/egress.ts) as these are now:
 * the kernel knows a cgroup by a number, which goes with the cgroup when its unit stops.
 */
import { type FSWatcher, watch } from 'node:fs'
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Egress, HostSpec, ServiceSpec } from '../../proto/model/host-spec.js'
import { cgroupMount } from '../kernel/cgroup-mount.js'
import { loadText } from '../kernel/nft.js'
import { isKept, ownSets } from '../plan/egress.js'
import { paths, table } from '../plan/own.js'
import { type Members, membersOf, nobody } from './egress-members.js'
import type { ListeningProcesses } from './listening-processes.js'

/** Changes come in bursts. */
const settleMs = 20
/** For what nothing tells of: containers' addresses, a unit's other slice, who listens. */
const pollMs = 5000

type Log = (message: string, detail?: Record<string, unknown>) => void

export class EgressKeeper {
  private chosen: (ServiceSpec & { egress: Egress })[] = []
  /** What was loaded last; a cgroup with its number. */
  private loaded = ''
  private watched = new Map<string, FSWatcher>()
  private timer: NodeJS.Timeout | undefined
  private poll: NodeJS.Timeout | undefined
  private running: Promise<void> = Promise.resolve()
  private failure = ''
  /** By service, what was told last. */
  private readonly shared = new Map<string, string>()

  constructor(
    private readonly log: Log,
    private readonly listening: ListeningProcesses,
  ) {}

  /** The spec that stands from now on, in a table that may be new. Resolves when the sets are as they must be. */
  follow(spec: HostSpec | null): Promise<void> {
    this.chosen = (spec?.services ?? []).flatMap((service) =>
      service.egress && isKept(service.egress) ? [{ ...service, egress: service.egress }] : [],
    )
    this.loaded = ''
    if (this.chosen.length > 0) this.poll ??= setInterval(() => this.notice(), pollMs).unref()
    else this.close()
    return this.refresh()
  }

  /** The table may be new, and the sets empty. */
  renew(): void {
    this.loaded = ''
    this.notice()
  }

  /** Something may have changed. Cheap. */
  notice(): void {
    if (this.chosen.length === 0 || this.timer) return
    this.timer = setTimeout(() => {
      this.timer = undefined
      void this.refresh()
    }, settleMs).unref()
  }

  close(): void {
    clearInterval(this.poll)
    this.poll = undefined
    for (const watcher of this.watched.values()) watcher.close()
    this.watched.clear()
  }

  private refresh(): Promise<void> {
    this.running = this.running
      .then(() => this.look())
      .then(
        () => {
          this.failure = ''
        },
        (error: Error) => {
          if (error.message !== this.failure) this.log('egress could not be kept', { error: error.message })
          this.failure = error.message
        },
      )
    return this.running
  }

  private async look(): Promise<void> {
    if (this.chosen.length === 0) return
    const found = await Promise.all(
      this.chosen.map(async (service) => ({ tunnel: service.egress.tunnel, ...(await this.members(service)) })),
    )
    const cgroups = found.flatMap((each) => each.cgroups)
    // Users can be told apart without.
    const mount = cgroups.length > 0 ? await cgroupMount() : { path: '', prefix: '' }
    const numbers = new Map<string, bigint>()
    for (const path of cgroups) {
      const info = await stat(`${mount.path}/${path}`, { bigint: true }).catch(() => null)
      if (info) numbers.set(path, info.ino)
    }
    // Before the look at what is there, or one that comes between would be missed.
    const text = setsText(found, (path) => (numbers.has(path) ? `${mount.prefix}${path}` : undefined))
    const key = `${text}${[...numbers].join()}`
    if (key !== this.loaded) {
      await loadText(paths.run, text)
      this.loaded = key
      this.log('egress chosen', {
        cgroups: [...numbers.keys()],
        users: found.flatMap((each) => each.uids),
        sources: found.flatMap((each) => [...each.sources4, ...each.sources6]),
      })
    }
    await this.watch(cgroups.map((path) => `${mount.path}/${path}`))
  }

  private async members(service: ServiceSpec & { egress: Egress }): Promise<Members> {
    if (!service.egress.listeners) return membersOf(service.egress)
    const { cgroups, uids, shared } = await this.listening.choose(service)
    if (shared !== undefined && shared !== this.shared.get(service.name))
      this.log('egress is not kept of some', { service: service.name, cause: shared })
    this.shared.set(service.name, shared ?? '')
    return { ...nobody, cgroups, uids }
  }

  /** The directories in which the cgroups come and go; of one that isn't there, the nearest that is. */
  private async watch(cgroups: readonly string[]): Promise<void> {
    const wanted = new Set<string>()
    for (const path of cgroups) {
      let parent = dirname(path)
      while (parent.length > 1 && !(await stat(parent).catch(() => null))) parent = dirname(parent)
      wanted.add(parent)
    }
    for (const [path, watcher] of this.watched) {
      if (wanted.has(path)) continue
      watcher.close()
      this.watched.delete(path)
    }
    for (const path of wanted) {
      if (this.watched.has(path)) continue
      const forget = (): void => {
        this.watched.get(path)?.close()
        this.watched.delete(path)
      }
      try {
        const watcher = watch(path, { persistent: false }, () => this.notice())
        watcher.on('error', forget)
        this.watched.set(path, watcher)
        // What came before it watched.
        this.notice()
      } catch {
        // Gone by now: the next look watches its parent.
        this.notice()
      }
    }
  }
}

/** Pure: replaces what stands in the sets. @param known how nft finds a cgroup; undefined for one that isn't there */
export function setsText(
  found: readonly (Members & { tunnel: number })[],
  known: (cgroup: string) => string | undefined,
): string {
  const lines: string[] = []
  for (const tunnel of new Set(found.map((each) => each.tunnel))) {
    const own = found.filter((each) => each.tunnel === tunnel)
    const names = ownSets(tunnel)
    const fill = (name: string, elements: readonly string[]): void => {
      lines.push(`flush set inet ${table} ${name}`)
      if (elements.length > 0) lines.push(`add element inet ${table} ${name} { ${[...new Set(elements)].join(', ')} }`)
    }
    fill(
      names.cgroups,
      own.flatMap(({ cgroups }) => cgroups.flatMap((path) => known(path) ?? [])).map((path) => `"${path}"`),
    )
    fill(
      names.uids,
      own.flatMap(({ uids }) => uids),
    )
    fill(
      names.sources4,
      own.flatMap(({ sources4 }) => sources4),
    )
    fill(
      names.sources6,
      own.flatMap(({ sources6 }) => sources6),
    )
  }
  return `${lines.join('\n')}\n`
}
