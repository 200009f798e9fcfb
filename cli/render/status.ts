/** `fleetmove status`: what is wrong and what is under way first, in as many columns as there are. */
import { drainText } from '../../controller/plan/drain-text.js'
import { mostInterestingFirst } from '../../controller/plan/interest.js'
import type { FleetStatus, ServiceLine, TunnelLine } from '../../controller/status.js'
import type { Stage } from '../../proto/model/host-spec.js'
import { age, counted, milliseconds, percent, rate } from './figures.js'
import { fittedTable } from './fitted-table.js'
import { cut } from './live-block.js'
import type { Style } from './style.js'

export interface Page {
  /** Of the terminal; Infinity in a pipe. */
  columns: number
  style: Style
  /** Milliseconds since 1970. */
  now: number
}

/** More tunnels than this are only counted, unless something is wrong with them. */
const mostTunnels = 4
/** Likewise drains: each service's count stands in the table. */
const mostDrains = 4

/** Of connection tracking: what is left goes quickly when clients are many. */
const tightShare = 0.8

export function statusText(status: FleetStatus, page: Page): string {
  const { services } = status
  const lines = [
    ...summary(status, page),
    ...tunnelLines(status.tunnels, page),
    ...problems(status, page),
    '',
    ...(services.length > 0 ? serviceTable(services, page) : ['No service is in one of these stages.']),
  ]
  return `${lines.join('\n')}\n`
}

/** In the order of a move. */
export const stages: readonly Stage[] = ['planned', 'forwarding', 'moving', 'moved', 'finalized']

/** `3 moving, 7 moved` */
export const stageCounts = (services: readonly { stage: Stage }[]): string =>
  stages
    .map((stage) => ({ stage, count: services.filter((service) => service.stage === stage).length }))
    .filter(({ count }) => count > 0)
    .map(({ stage, count }) => `${count} ${stage}`)
    .join(', ')

function summary({ fleet, services }: FleetStatus, { style }: Page): string[] {
  const sum = (pick: (service: ServiceLine) => number | null): number =>
    services.reduce((all, service) => all + (pick(service) ?? 0), 0)
  const head = `${style('bold', fleet)}  ${counted(services.length, 'service')}`
  if (services.length === 0) return [head]
  return [
    `${head}, ${rate(sum((each) => each.byOld))} clients/s by old addresses, ${rate(sum((each) => each.byNew))}/s by new`,
    stageCounts(services),
  ]
}

function tunnelLines(tunnels: readonly TunnelLine[], { style }: Page): string[] {
  const line = (tunnel: TunnelLine): string => {
    const state = tunnel.up
      ? style('green', `up, ${milliseconds(tunnel.rttMs)}`)
      : style('red', `down${tunnel.downForMs === null ? '' : ` for ${age(tunnel.downForMs)}`}: ${tunnel.detail}`)
    return `tunnel ${tunnel.a} ↔ ${tunnel.b}: ${tunnel.driver}, MTU ${tunnel.mtu}, ${state}`
  }
  if (tunnels.length <= mostTunnels) return tunnels.map(line)
  const up = tunnels.filter((tunnel) => tunnel.up)
  const slowest = [...up].sort((a, b) => b.rttMs - a.rttMs)[0]
  return [
    ...tunnels.filter((tunnel) => !tunnel.up).map(line),
    `${counted(up.length, 'tunnel')} ${style('green', 'up')}${slowest ? `, the slowest ${slowest.a} ↔ ${slowest.b}: ${milliseconds(slowest.rttMs)}` : ''}`,
  ]
}

/** Who is left is told as far as the line goes. */
function drainLines(services: readonly ServiceLine[], { style, columns }: Page): string[] {
  const draining = services.filter(({ standing }) => standing > 0).sort((a, b) => b.standing - a.standing)
  const lines = draining
    .slice(0, mostDrains)
    .map(
      ({ name, from, to, active, paused, standing, standingClients: clients, oldest }) =>
        `${style('yellow', 'drain')} ${name}: ${counted(standing, 'connection')} left on ${paused ? active : active === from ? to : from}: ${drainText({ clients, oldest: oldest ?? undefined })}`,
    )
  const more = draining.length - lines.length
  if (more > 0) lines.push(`${counted(more, 'other service')} with fewer connections left`)
  return lines.map((line) => cut(line, columns))
}

function problems(status: FleetStatus, page: Page): string[] {
  const { style, now } = page
  // While a run is at work a pause is part of it.
  const abandoned = status.locked.length > 0 ? [] : status.services.filter(({ paused }) => paused)
  return [
    ...abandoned.map(
      ({ name }) =>
        `${style('red', 'paused')} ${name} answers nowhere, new clients are dropped: a run has died in the middle of its move, and the hosts bring it back when its hold is over. Go on: fleetmove advance ${name}; or back: fleetmove rollback ${name}`,
    ),
    ...drainLines(status.services, page),
    ...status.tunnels
      .filter(({ up, unanswered }) => !up || unanswered > 0)
      .flatMap((tunnel) => unansweredText(tunnel, style)),
    ...status.tunnels.flatMap((tunnel) => narrowText(tunnel, style)),
    ...status.tracked
      .filter(({ shed }) => shed > 0)
      .map(
        ({ host, shed, shedding }) =>
          `${shedding ? style('red', 'turned away') : 'turned away'} on ${host}: ${counted(shed, 'opening')} of new connections by tunnels, for want of room in connection tracking${shedding ? ', and still' : ''}; others came through`,
      ),
    ...status.tracked
      .filter(({ entries, most }) => most > 0 && entries >= most * tightShare)
      .map(
        ({ host, entries, most, own }) =>
          `${style('red', 'connection tracking')} on ${host} is nearly full: ${entries} of ${most}, ${own} of them through tunnels; at the end new clients are dropped: raise net.netfilter.nf_conntrack_max there`,
      ),
    ...status.locked.map(
      ({ host, owner, command, sinceMs, id }) =>
        `${style('yellow', 'locked')} ${host}: ${owner} runs "fleetmove ${command}" for ${age(now - sinceMs)} (lock ${id})`,
    ),
    ...status.drift.map(
      ({ host, steps }) => `${style('red', 'drift')} on ${host}: ${steps.join('; ')} (fleetmove up mends it)`,
    ),
    ...status.fighting.map(
      ({ host, steps }) =>
        `${style('red', 'fighting')} on ${host}: something else undoes this again and again, so it is let be for a while: ${steps.join('; ')}`,
    ),
    ...status.mended.map(
      ({ host, times, lastMsAgo, steps }) =>
        `mended on ${host}: ${times === 1 ? 'once' : `${times} times`}, last ${age(lastMsAgo)} ago: ${steps.join('; ')}`,
    ),
    ...status.blind.map(({ host, reasons }) => `${host} looks for changes every 30 s only: ${reasons.join('; ')}`),
    ...status.unlogged.map(({ host, reasons }) => `${style('red', 'not logged')} on ${host}: ${reasons.join('; ')}`),
    ...(status.absent.length > 0 ? [`no agent on: ${status.absent.join(', ')}`] : []),
  ]
}

/** Whoever had to wait or was refused, also when all is well again. */
function unansweredText({ a, b, up, unreachable, unanswered }: TunnelLine, style: Style): string[] {
  if (unanswered === 0) return []
  const what = unreachable === 'reset' ? 'refused' : 'waiting'
  const meaning = unreachable === 'reset' ? 'were refused' : 'had to be sent again'
  return [
    `${up ? what : style('red', what)}: ${counted(unanswered, 'opening')} of clients met a silent tunnel ${a} ↔ ${b} and ${meaning} (tunnel: { unreachable: ${unreachable} })`,
  ]
}

function narrowText({ a, b, mtu, fits }: TunnelLine, style: Style): string[] {
  return fits === null
    ? []
    : [
        `${style('red', 'narrow')} tunnel ${a} ↔ ${b}: packets of more than ${fits} bytes vanish in it, and its MTU is ${mtu}: the path has become narrower; ${fits >= 1280 ? 'fleetmove up adapts it' : 'below 1280 IPv6 needs another path, or driver: openvpn'}`,
      ]
}

function serviceTable(unsorted: readonly ServiceLine[], page: Page): string[] {
  const services = mostInterestingFirst(unsorted)
  const cells = (cell: (service: ServiceLine) => string): string[] => services.map(cell)
  const some = (test: (service: ServiceLine) => boolean): boolean => services.some(test)
  const byOldTotal = (service: ServiceLine): number =>
    service.active === service.from ? service.served : service.forwarded
  const byNewTotal = (service: ServiceLine): number =>
    service.active === service.from ? service.forwarded : service.served
  return fittedTable(
    [
      { title: 'SERVICE', cells: cells(({ name }) => name), least: 12 },
      { title: 'STAGE', cells: cells((line) => stageText(line, page.style)) },
      { title: 'ON', cells: cells(({ active }) => active), least: 8 },
      { title: 'OLD/s', cells: cells(({ byOld }) => rate(byOld)), right: true },
      { title: 'NEW/s', cells: cells(({ byNew }) => rate(byNew)), right: true },
      { title: 'BY OLD', cells: cells(({ oldShare }) => percent(oldShare)), right: true },
      ...(some(({ standing }) => standing > 0)
        ? [{ title: 'DRAIN', cells: cells(({ standing }) => (standing > 0 ? String(standing) : '')), right: true }]
        : []),
      { title: 'OPEN', cells: cells(({ established }) => String(established)), right: true, dispensable: 1 },
      {
        title: 'CLIENTS',
        cells: cells(({ clientsByForwarder }) => String(clientsByForwarder)),
        right: true,
        dispensable: 2,
      },
      { title: 'ALL OLD', cells: cells((each) => String(byOldTotal(each))), right: true, dispensable: 4 },
      { title: 'ALL NEW', cells: cells((each) => String(byNewTotal(each))), right: true, dispensable: 3 },
      { title: 'PROOF', cells: cells((each) => proofText(each.lastProof, page)) },
    ],
    page.columns,
  )
}

/** With the share of clients that a canary's new host has. */
export const stageText = ({ stage, canary }: Pick<ServiceLine, 'stage' | 'canary'>, style: Style): string => {
  const named = canary && canary.prefixes.length > 0 ? [`${canary.prefixes.length} named`] : []
  const share = canary && (canary.percent > 0 || named.length === 0) ? [`${canary.percent} %`] : []
  const text = [stage, ...share, ...named].join(' ')
  return stage === 'moving' ? style('yellow', text) : stage === 'moved' ? style('green', text) : text
}

/** `ok 3m`, `FAILED 3m`: how old the last proof is. */
export function proofText(proof: ServiceLine['lastProof'], { style, now }: Pick<Page, 'style' | 'now'>): string {
  if (!proof) return '-'
  const old = age(now - Date.parse(proof.at))
  return proof.ok ? `${style('green', 'ok')} ${old}` : `${style('red', 'FAILED')} ${old}`
}
