/**
 * Which of this host's processes listen on a service's ports, and how the connections that they open can be told
 * apart from everybody else's: by the cgroup of their unit, or by their users.
 */
import { readdir, readFile } from 'node:fs/promises'
import { type ServiceSpec, serveOf } from '../../proto/model/host-spec.js'
import { runOutside } from '../kernel/outside.js'
import { listeningSockets, type OpenSocket } from '../kernel/sock-diag.js'
import { cgroupLevels } from '../plan/egress.js'

export interface ProcessFacts {
  parent: number
  /** The effective one. */
  uid: number
  /** Of version 2: `/system.slice/postfix@-.service`. */
  cgroup: string
  name: string
}

export interface Choice {
  /** Below the mount of cgroup2, without a slash at either end. */
  cgroups: string[]
  uids: string[]
  /** Why some of the processes can't be told apart; undefined where all can. */
  shared?: string
}

type Ports = readonly { protocol: 'tcp' | 'udp'; from: number; to: number }[]

/** Where a service's processes listen on this host. Pure. */
export const portsOf = ({ routes }: ServiceSpec): Ports =>
  routes.map(({ protocol, ports, action }) => {
    const own = serveOf(action)?.port ?? 0
    return { protocol, ...(own === 0 ? ports : { from: own, to: own }) }
  })

/** Remembers who listens as long as the listening sockets stay the same: to find out takes a program's start. */
export class ListeningProcesses {
  private readonly known = new Map<string, { sockets: string; pids: number[] }>()

  async choose(service: ServiceSpec): Promise<Choice> {
    const ports = portsOf(service)
    const sockets = (await listeningSockets()).filter((socket) => covers(ports, socket))
    const key = sockets
      .map(({ inode }) => inode)
      .sort()
      .join()
    let { sockets: before, pids } = this.known.get(service.name) ?? { sockets: '', pids: [] }
    let holders = await factsOf(pids)
    if (key !== before || holders.size < pids.length) {
      pids = sockets.length === 0 ? [] : holdersIn(await whoListens(), ports)
      this.known.set(service.name, { sockets: key, pids })
      holders = await factsOf(pids)
    }
    // What they have started matters only where a unit's cgroup doesn't hold it all.
    const alone = [...holders.values()].every(({ cgroup }) => ownUnit(cgroup) !== undefined)
    return chooseBy(pids, alone ? holders : await factsOf(await allPids()))
  }
}

const covers = (ports: Ports, { protocol, port }: Pick<OpenSocket, 'protocol' | 'port'>): boolean =>
  ports.some((range) => range.protocol === protocol && range.from <= port && port <= range.to)

/** Outside of the agent's sandbox, which may not look into other processes' descriptors. */
const whoListens = (): Promise<string> => runOutside('ss', ['-H', '-l', '-n', '-t', '-u', '-p'])

/**
 * From what ss(8) prints with -Hlntup: a line a socket, `tcp LISTEN 0 100 0.0.0.0:25 0.0.0.0:* users:(("master",pid=7,fd=13))`.
 * systemd holds sockets for units that it starts at the first connection, and is not their owner. Pure.
 */
export function holdersIn(text: string, ports: Ports): number[] {
  const pids = new Set<number>()
  for (const line of text.split('\n')) {
    const [protocol, , , , local = ''] = line.split(/\s+/)
    const port = Number(local.slice(local.lastIndexOf(':') + 1))
    if ((protocol !== 'tcp' && protocol !== 'udp') || !covers(ports, { protocol, port })) continue
    for (const [, pid] of line.matchAll(/,pid=(\d+),/g)) if (pid !== '1') pids.add(Number(pid))
  }
  return [...pids]
}

/**
 * The cgroup of each process's unit where it has one to itself; else the users, but root, of the process and of all
 * that it has started. Pure.
 */
export function chooseBy(pids: readonly number[], processes: ReadonlyMap<number, ProcessFacts>): Choice {
  const cgroups = new Set<string>()
  const uids = new Set<string>()
  const shared: string[] = []
  for (const pid of pids) {
    const process = processes.get(pid)
    if (!process) continue
    const words = `${process.name} (process ${pid}`
    const unit = ownUnit(process.cgroup)
    if (process.name === 'docker-proxy') shared.push(`${words}) listens for a container`)
    else if (unit !== undefined) cgroups.add(unit)
    else {
      const users = usersBelow(pid, processes)
      for (const uid of users) uids.add(String(uid))
      if (users.length === 0) shared.push(`${words}, root) runs in ${process.cgroup}, which is no unit of its own`)
    }
  }
  return { cgroups: [...cgroups], uids: [...uids], ...(shared.length > 0 ? { shared: shared.join('; ') } : {}) }
}

/** A login's session, and a user's manager with all that it runs, are nobody's own. */
function ownUnit(cgroup: string): string | undefined {
  const parts = cgroup.split('/').filter((part) => part !== '')
  const isUnit = (part: string): boolean =>
    /\.(service|scope)$/.test(part) && !/^(session-|init\.scope$|user@)/.test(part)
  const at = parts.findIndex(isUnit)
  return at < 0 || at >= cgroupLevels.length ? undefined : parts.slice(0, at + 1).join('/')
}

function usersBelow(pid: number, processes: ReadonlyMap<number, ProcessFacts>): number[] {
  const family = new Set([pid])
  // Parents need not stand before their children: until nothing more is found.
  for (let size = 0; size < family.size; ) {
    size = family.size
    for (const [each, { parent }] of processes) if (family.has(parent)) family.add(each)
  }
  return [...new Set([...family].flatMap((each) => processes.get(each)?.uid ?? []))].filter((uid) => uid !== 0)
}

const allPids = async (): Promise<number[]> => (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)

/** Of those that still run: proc(5). */
async function factsOf(pids: readonly number[]): Promise<Map<number, ProcessFacts>> {
  const found = await Promise.all(
    pids.map(async (pid) => {
      const [status, cgroup] = await Promise.all(
        ['status', 'cgroup'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')),
      )
      const field = (name: string): string => new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(status!)?.[1] ?? ''
      const facts: ProcessFacts = {
        parent: Number(field('PPid')),
        uid: Number(field('Uid').split(/\s+/)[1]),
        cgroup: /^0::(.+)$/m.exec(cgroup!)?.[1] ?? '/',
        name: field('Name'),
      }
      return status === '' ? [] : [[pid, facts] as const]
    }),
  )
  return new Map(found.flat())
}
