import { readFileSync } from 'node:fs'
import { isAlive } from './process.js'
import { liveness, readState } from './state.js'
import { hostNames, labTopology, publicAddresses } from './topology.js'

export interface LabHostStatus {
  name: string
  /** The addresses by which others reach it, IPv4 first. */
  addresses: string[]
  /** The machine's pid of its first process; null if that is gone. */
  pid: number | null
  /** Whether something listens on TCP port 22; null where no sshd belongs. */
  sshd: boolean | null
}

export interface LabStatus {
  name: string
  state: 'up' | 'starting' | 'dead' | 'none'
  /** ISO 8601; null if there is no lab. */
  startedAt: string | null
  /** The password that sudo asks of `ops`; null if there is no lab. */
  opsPassword: string | null
  hosts: LabHostStatus[]
}

/** What is there of the lab called `name`. `dead` is what a crash left. */
export function labStatus(name: string): LabStatus {
  const saved = readState(name)
  if (!saved) return { name, state: 'none', startedAt: null, opsPassword: null, hosts: [] }
  const hosts = hostNames(labTopology).map((host): LabHostStatus => {
    const process = saved.hosts[host]
    const pid = process && isAlive(process) ? process.pid : null
    const sshd = labTopology.hosts[host]?.sshd ? pid !== null && listensOn(pid, 22) : null
    return { name: host, addresses: publicAddresses(labTopology, host), pid, sshd }
  })
  return { name, state: liveness(saved), startedAt: saved.startedAt, opsPassword: saved.opsPassword, hosts }
}

/** The status as a table for people. */
export function labStatusTable(status: LabStatus): string {
  if (status.state === 'none') return `The practice network "${status.name}" doesn't run.\n`
  const head = {
    up: `The practice network "${status.name}" runs since ${status.startedAt}; sudo's password for ops is ${status.opsPassword}`,
    starting: `The practice network "${status.name}" is being started`,
    dead: `The practice network "${status.name}" is dead; fleetmove lab down clears away what is left of it`,
  }[status.state]
  const rows = [['HOST', 'PID', 'SSHD', 'ADDRESSES']]
  for (const host of status.hosts) {
    const sshd = host.sshd === null ? '-' : host.sshd ? 'up' : 'down'
    rows.push([host.name, host.pid === null ? 'gone' : String(host.pid), sshd, host.addresses.join(' ')])
  }
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '))
  return `${head}\n\n${lines.join('\n')}\n`
}

/** Reads a namespace's listening sockets from outside: proc(5), /proc/PID/net/tcp; state 0A is LISTEN. */
function listensOn(pid: number, port: number): boolean {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return readFileSync(`/proc/${pid}/net/tcp`, 'utf8')
    .split('\n')
    .some((line) => {
      const fields = line.trim().split(/\s+/)
      return fields[1]?.endsWith(wanted) && fields[3] === '0A'
    })
}
