/** Which listeners are one service, and which ones stay behind. */
import type { Ip } from '../../../proto/model/address.js'
import type { Left } from './draft.js'
import { knownProgram, whyLeft } from './known-programs.js'
import type { Survey, SurveyContainer, SurveyListener, SurveyProcess } from './survey.js'

export interface Group {
  /** The listeners that clients reach. */
  listeners: SurveyListener[]
  /** Of a program that runs on the host itself. */
  process: SurveyProcess | undefined
  unit: string | undefined
  /** One, or all of a Compose project. */
  containers: SurveyContainer[]
}

/** @param own the addresses that the host has for its public ones */
export function groupListeners(host: string, survey: Survey, own: readonly Ip[]): { groups: Group[]; left: Left[] } {
  const groups = new Map<string, Group>()
  const left: Left[] = []
  for (const [key, group] of containerGroups(survey)) groups.set(key, group)
  const published = new Set(
    survey.containers.flatMap((each) => each.published.map(({ protocol, port }) => `${protocol}/${port}`)),
  )
  for (const listener of survey.listeners) {
    const port = `${listener.protocol}/${listener.port}`
    const process = ownerOf(survey, listener)
    // What Docker itself listens on for a container's sake has been told by the container.
    if (process?.name === 'docker-proxy' || (published.has(port) && !process)) continue
    const leave = (why: string, doubt = false): void => {
      left.push({ host, what: `${process?.name ?? 'no process'} ${port}`, why, doubt })
    }
    const activated = process?.pid === 1 ? activates(survey, listener) : undefined
    const why = process && whyLeft(activated === undefined ? process : { name: unitWord(activated), program: '' })
    if (process === undefined) leave('the kernel itself listens (NFS, WireGuard), or its program is hidden', true)
    else if (why !== undefined) leave(why)
    else if (isLoopback(listener)) {
      const inside = whyInside(survey, listener.port, process)
      leave(inside.why, inside.doubt)
    } else if (isElsewhere(listener, own)) leave(`only at ${listener.bound}, which is no public address`)
    else if (isClientSocket(survey, listener, process)) leave('a socket by which it asks others, as a client')
    else if (process.pid === 1 && activated === undefined) leave('process 1 itself listens', true)
    else {
      const containers = survey.containers.filter(({ id }) => id === process.container)
      const unit = activated ?? process.unit
      const key = containers[0] ? containerKey(containers[0]) : (unit ?? (process.program || process.name))
      const program = activated === undefined ? process : undefined
      const group = groups.get(key) ?? { listeners: [], process: program, unit, containers }
      group.listeners.push(listener)
      groups.set(key, group)
    }
  }
  return { groups: [...groups.values()].filter(({ listeners }) => listeners.length > 0), left: oneOfEach(left) }
}

/** systemd holds many sockets for others: whoever isn't process 1 is meant, and of those the eldest. */
function ownerOf(survey: Survey, { pids }: SurveyListener): SurveyProcess | undefined {
  const all = [...pids].sort((a, b) => a - b).flatMap((pid) => survey.processes.get(pid) ?? [])
  return all.find((process) => process.pid !== 1 && knownProgram(process)) ?? all.find(({ pid }) => pid !== 1) ?? all[0]
}

function activates({ sockets }: Survey, { port }: SurveyListener): string | undefined {
  return sockets.find(({ listen }) => listen.endsWith(`:${port}`))?.activates
}

/** `ssh` of `ssh@.service`: close to the program's name. */
const unitWord = (unit: string): string => unit.replace(/(@.*)?\.service$/, '')

const containerKey = ({ id, compose }: SurveyContainer): string =>
  compose === undefined ? `container ${id}` : `compose ${compose.project}`

/** Containers that publish ports, with what runs beside them in their project. */
function containerGroups({ containers }: Survey): Map<string, Group> {
  const groups = new Map<string, Group>()
  for (const container of containers) {
    const key = containerKey(container)
    const group = groups.get(key) ?? { listeners: [], process: undefined, unit: undefined, containers: [] }
    group.containers.push(container)
    for (const { protocol, port, bound } of container.published)
      if (!isLoopback({ bound })) group.listeners.push({ protocol, port, bound, pids: [] })
    groups.set(key, group)
  }
  return groups
}

const isLoopback = ({ bound }: Pick<SurveyListener, 'bound'>): boolean => bound.startsWith('127.') || bound === '::1'

const isElsewhere = ({ bound }: SurveyListener, own: readonly Ip[]): boolean =>
  /[.:]/.test(bound) && !own.some((ip) => ip === bound)

/** Why a listener that only the host itself reaches stays; a database there may be half of what moves. */
function whyInside({ flows }: Survey, port: number, process: SurveyProcess): { why: string; doubt: boolean } {
  const why = 'only programs of the host itself reach it'
  if (knownProgram(process)?.state !== 'data') return { why, doubt: false }
  const used = flows.find((flow) => flow.port === port)?.connections ?? 0
  const now = used > 0 ? ` (${used} connections now)` : ''
  return { why: `${why}${now}, but it keeps state that they may need where they move to`, doubt: true }
}

/** A program that has other listeners, and an UDP socket at a port that the kernel gives to clients. */
function isClientSocket(survey: Survey, { protocol, port }: SurveyListener, process: SurveyProcess): boolean {
  const { from, to } = survey.ephemeral
  if (protocol !== 'udp' || port < from || port > to) return false
  return survey.listeners.some(
    (other) => other.port !== port && (other.port < from || other.port > to) && other.pids.includes(process.pid),
  )
}

/** A program that listens in both families is one. */
const oneOfEach = (left: readonly Left[]): Left[] => [
  ...new Map(left.map((each) => [`${each.what} ${each.why}`, each])).values(),
]
