/** `fleetmove watch`: a frame for a terminal, lines for a pipe. */
import { ageText } from '../../controller/plan/drain-text.js'
import { mostInterestingFirst } from '../../controller/plan/interest.js'
import type { WatchedService, WatchedTunnel, WatchFrame } from '../../controller/watch.js'
import { age, counted, milliseconds, percent, rate, sparkLine } from './figures.js'
import { fittedTable } from './fitted-table.js'
import { cut } from './live-block.js'
import { proofText, stageCounts, stageText } from './status.js'
import type { Style } from './style.js'

export interface WatchPage {
  columns: number
  /** Lines that there is room for. */
  rows: number
  style: Style
  /** Shown above, e.g. `every 1 s, ctrl-C ends`. */
  hint: string
}

const [shortest, longest] = [6, 40]

/** One frame; services that there is no room for are counted. */
export function watchFrame(frame: WatchFrame, page: WatchPage): string[] {
  const { style } = page
  const time = new Date(frame.at).toISOString().slice(11, 19)
  const head = [
    `${style('bold', frame.fleet)}  ${time}Z  ${counted(frame.services.length, 'service')}${frame.services.length > 0 ? `: ${stageCounts(frame.services)}` : ''}  ${style('dim', page.hint)}`,
    ...frame.tunnels.map((tunnel) => tunnelText(tunnel, style)),
    ...hostProblems(frame).map((text) => style('red', text)),
    '',
  ].map((line) => cut(line, page.columns - 1))
  const services = mostInterestingFirst(frame.services)
  const room = page.rows - head.length - 1
  const shown = services.length > room ? services.slice(0, Math.max(1, room - 1)) : services
  const hidden = services.length - shown.length
  return [
    ...head,
    ...serviceTable(shown, frame.at, page),
    ...(hidden > 0 ? [style('dim', `… and ${hidden} more: name services, or --stage`)] : []),
  ]
}

function serviceTable(services: readonly WatchedService[], now: number, { columns, style }: WatchPage): string[] {
  // The spark lines take what room the rest leaves.
  const widest = Math.max(
    ...fittedTable(columnsOf(services, shortest, now, plain), Number.POSITIVE_INFINITY).map((line) => line.length),
  )
  const spare = Math.floor((columns - 1 - widest) / 2)
  const length = Math.max(shortest, Math.min(longest, shortest + spare))
  return fittedTable(columnsOf(services, length, now, style), columns - 1)
}

/** Room is scarce: `≥2m`. */
const shortAge = ({ ageMs, exact }: { ageMs: number; exact: boolean }): string => `${exact ? '' : '≥'}${age(ageMs)}`

const plain: Style = (_format, text) => text

function columnsOf(services: readonly WatchedService[], length: number, now: number, style: Style) {
  const cells = (cell: (service: WatchedService) => string): string[] => services.map(cell)
  // One scale for both, so that they can be compared.
  const trend = ({ trend: { byOld, byNew } }: WatchedService, values: readonly (number | null)[]): string =>
    sparkLine(
      values,
      length,
      Math.max(...[...byOld.slice(-length), ...byNew.slice(-length)].map((value) => value ?? 0)),
    )
  return [
    { title: 'SERVICE', cells: cells(({ name }) => name), least: 8 },
    { title: 'STAGE', cells: cells((line) => stageText(line, style)) },
    { title: 'ON', cells: cells(({ active }) => active), least: 6 },
    {
      title: 'OLD/s',
      cells: cells((each) => `${style('yellow', trend(each, each.trend.byOld))} ${rate(each.byOld).padStart(4)}`),
      right: true,
    },
    {
      title: 'NEW/s',
      cells: cells((each) => `${style('green', trend(each, each.trend.byNew))} ${rate(each.byNew).padStart(4)}`),
      right: true,
    },
    { title: 'BY OLD', cells: cells(({ oldShare }) => percent(oldShare)), right: true },
    {
      title: 'DRAIN',
      cells: cells(({ standing, oldest }) =>
        standing > 0 ? `${standing}${oldest ? ` ${shortAge(oldest)}` : ''}` : '-',
      ),
      right: true,
      dispensable: 2,
    },
    { title: 'OPEN', cells: cells(({ established }) => String(established)), right: true, dispensable: 3 },
    { title: 'PROOF', cells: cells(({ lastProof }) => proofText(lastProof, { style, now })), dispensable: 1 },
  ]
}

function tunnelText({ a, b, driver, rttMs, loss, downForMs, detail }: WatchedTunnel, style: Style): string {
  const since = downForMs === null ? '' : ` for ${age(downForMs)}`
  const answer = rttMs === null ? style('red', `no answer${since}`) : `round trip ${milliseconds(rttMs)}`
  const lost = loss === null ? '' : `, loss ${loss > 0 ? style('red', percent(loss)) : percent(loss)}`
  return `tunnel ${a} ↔ ${b}: ${driver}, ${answer}${lost}${detail === '' ? '' : ` (${detail})`}`
}

const hostProblems = ({ hosts }: WatchFrame): string[] =>
  hosts
    .filter(({ state }) => state !== 'watched')
    .map(({ host, state, detail }) =>
      state === 'connecting'
        ? `${host}: connecting …`
        : `${host}: ${state === 'no-agent' ? detail : `unreachable: ${detail}`}`,
    )

/** For a pipe: a line for each service, each begins with the time; what is wrong beside them only when it changes. */
export function watchLines(): (frame: WatchFrame) => string {
  let told = ''
  return (frame) => {
    const time = `${new Date(frame.at).toISOString().slice(0, 19)}Z`
    const problems = [
      ...hostProblems(frame),
      ...frame.tunnels
        .filter(({ rttMs, loss }) => rttMs === null && loss !== null)
        // Figures that change every time would make it news every time.
        .map((each) => tunnelText({ ...each, loss: null, downForMs: null }, plain)),
    ]
    const fresh = problems.join('\n') === told ? [] : problems
    told = problems.join('\n')
    return [
      ...fresh.map((problem) => `${time}  ${problem}\n`),
      ...frame.services.map((each) => `${time}  ${serviceLine(each, frame)}\n`),
    ].join('')
  }
}

function serviceLine(service: WatchedService, { tunnels }: WatchFrame): string {
  const { name, stage, active, byOld, byNew, standing, oldest, established } = service
  const tunnel = tunnels.find(({ a, b }) => [a, b].every((end) => end === service.from || end === service.to))
  const parts = [
    `${stage} on ${active}`,
    `old ${rate(byOld)}/s`,
    `new ${rate(byNew)}/s`,
    `by old ${percent(service.oldShare)}`,
    `drain ${standing}${oldest ? `, oldest ${ageText(oldest)}` : ''}`,
    `open ${established}`,
    ...(tunnel
      ? [`tunnel ${tunnel.rttMs === null ? 'silent' : milliseconds(tunnel.rttMs)}, ${percent(tunnel.loss)} lost`]
      : []),
  ]
  return `${name}  ${parts.join(', ')}`
}
