/** Drawings as SVG in the page itself; what the pointer rests on is told by <title>, without a script. */

import type { Buckets } from '../../../controller/plan/arrivals-over-time.js'
import type { Report, ReportedService } from '../../../controller/report.js'
import { type Html, html, nothing } from './html.js'
import { clock, moment, number, span, ticks } from './times.js'

const pageWidth = 1000
/** Room for half of the last tick's label. */
const right = 26

/** A time and where it is drawn. */
interface Axis {
  from: number
  to: number
  left: number
  width: number
}

const scale =
  ({ from, to, left, width }: Axis) =>
  (at: number): number =>
    Number((left + ((at - from) / Math.max(1, to - from)) * (width - right - left)).toFixed(1))

function timeAxis(axis: Axis, top: number, bottom: number): Html {
  const x = scale(axis)
  return html`<g class="axis">${ticks(axis.from, axis.to, (axis.width - axis.left) / 110).map(
    ({ at, label }) =>
      html`<line x1="${x(at)}" x2="${x(at)}" y1="${top}" y2="${bottom}"/><text x="${x(at)}" y="${bottom + 16}" text-anchor="middle">${label}</text>`,
  )}</g>`
}

/** Rows that a page can bear. */
const mostRows = 60

/** A bar for each service, coloured by its stage; the commands above them. */
export function timeline(report: Report, time: { from: number; to: number }): Html {
  const services = report.services.filter(({ stages }) => stages.length > 0)
  const shown = services.slice(0, mostRows)
  const [rowHeight, top] = [26, 34]
  const bottom = top + shown.length * rowHeight
  const left = 24 + 7.5 * Math.max(...shown.map(({ name }) => shortened(name).length), 4)
  const axis = { ...time, left, width: pageWidth }
  const x = scale(axis)
  const commands = report.runs.map(({ at, command, outcome, ms }) => {
    const bad = outcome !== 'done' && outcome !== null
    return html`<g class="${bad ? 'run bad' : 'run'}"><title>${`${clock(at)} fleetmove ${command}${ms === null ? '' : `, ${span(ms)}`}${bad ? `: ${outcome}` : ''}`}</title><line x1="${x(at)}" x2="${x(at)}" y1="22" y2="${bottom}"/><path d="M${x(at) - 5} 14h10l-5 9z"/></g>`
  })
  const rows = shown.map((service, row) => {
    const y = top + row * rowHeight
    const bars = service.stages.map(({ stage, from, to }) => {
      const end = to ?? axis.to
      const length = Math.max(1.5, x(end) - x(from))
      return html`<rect class="stage ${stage}" x="${x(from)}" y="${y + 4}" width="${length.toFixed(1)}" height="${rowHeight - 8}" rx="3"><title>${`${service.name}: ${stage} ${to === null ? `since ${moment(from)}` : `${moment(from)} to ${clock(to)}, ${span(to - from)}`}`}</title></rect>`
    })
    return html`<text class="label" x="${left - 12}" y="${y + rowHeight / 2 + 4}" text-anchor="end">${shortened(service.name)}</text>${bars}`
  })
  const more = services.length - shown.length
  return html`<figure>${legend([
    ['stage forwarding', 'forwarding: new sends to old'],
    ['stage moving', 'moving'],
    ['stage moved', 'moved: old sends to new'],
    ['stage finalized', 'finalized'],
    ['mark', 'a command'],
  ])}<svg viewBox="0 0 ${pageWidth} ${bottom + 24}" role="img" aria-label="Stages of every service over time">${timeAxis(axis, 22, bottom)}${commands}${rows}</svg>${more > 0 ? html`<figcaption>${more} further services are in the table.</figcaption>` : nothing}</figure>`
}

const shortened = (name: string): string => (name.length > 18 ? `${name.slice(0, 17)}…` : name)

const legend = (entries: readonly (readonly [string, string])[]): Html =>
  html`<p class="legend">${entries.map(([kind, text]) => html`<span><i class="${kind}"></i>${text}</span>`)}</p>`

export const arrivalsLegend = (): Html =>
  legend([
    ['old', 'by the old address'],
    ['new', 'by the new address'],
    ['cut', 'switched'],
  ])

/** Columns of new connections, those by the new address on top of those by the old one. */
export function arrivalsChart(
  { start, bucketMs, old, new: fresh }: Buckets,
  switches: readonly { at: number; service: string; to: string }[],
  { width, height, label }: { width: number; height: number; label: string },
): Html {
  const begin = 46
  const [top, bottom] = [8, height - 22]
  const axis = { from: start, to: start + bucketMs * old.length, left: begin, width }
  const x = scale(axis)
  const peak = old.reduce((most, value, i) => Math.max(most, value + fresh[i]!), 0)
  const steps = valueSteps(peak / (bucketMs / 1000))
  const highest = steps.at(-1)! * (bucketMs / 1000)
  const y = (value: number): number => Number((bottom - (value / highest) * (bottom - top)).toFixed(1))
  const thick = Math.max(0.8, ((width - right - begin) / old.length) * 0.88)
  const columns = old.map((value, i) => {
    const above = fresh[i]!
    if (value + above < 0.005) return nothing
    const at = start + i * bucketMs
    const share = Math.round((value / (value + above)) * 100)
    const told = `${moment(at)}, ${span(bucketMs)}: ${number(value)} by the old address (${share} %), ${number(above)} by the new one`
    const bar = (kind: string, from: number, to: number): Html =>
      to - from < 0.005
        ? nothing
        : html`<rect class="${kind}" x="${x(at)}" y="${y(to)}" width="${thick.toFixed(1)}" height="${(y(from) - y(to)).toFixed(1)}"/>`
    return html`<g><title>${told}</title>${bar('old', 0, value)}${bar('new', value, value + above)}</g>`
  })
  const marks = switches
    .filter(({ at }) => at >= axis.from && at <= axis.to)
    .map(
      ({ at, service, to }) =>
        html`<g class="cut"><title>${`${clock(at)} ${service} switched to ${to}`}</title><line x1="${x(at)}" x2="${x(at)}" y1="${top}" y2="${bottom}"/></g>`,
    )
  return html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${label}"><g class="axis">${steps.map(
    (value) =>
      html`<line x1="${begin}" x2="${width - right}" y1="${y(value * (bucketMs / 1000))}" y2="${y(value * (bucketMs / 1000))}"/><text x="${begin - 8}" y="${y(value * (bucketMs / 1000)) + 4}" text-anchor="end">${perSecond(value)}</text>`,
  )}</g>${timeAxis(axis, bottom, bottom)}${columns}${marks}</svg>`
}

/** 0 and up to four or five round values above, the last one not below the peak. */
export function valueSteps(peak: number): number[] {
  if (peak <= 0) return [0, 1]
  const rough = peak / 4
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = ([1, 2, 2.5, 5, 10].find((each) => each * power >= rough) ?? 10) * power
  const count = Math.ceil(peak / step - 1e-9)
  return Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(6)))
}

const perSecond = (value: number): string => (value >= 10_000 ? `${value / 1000}k` : String(value))

/** Charts of single services: those to which most came. */
export function serviceCharts(services: readonly ReportedService[], moves: Report['moves']): Html {
  const drawn = services
    .filter((service) => service.arrivals !== null)
    .sort((a, b) => b.byOld + b.byNew - a.byOld - a.byNew)
    .slice(0, 12)
  if (services.length < 2 || drawn.length === 0) return nothing
  return html`<div class="small">${drawn.map(
    (service) =>
      html`<figure><figcaption><b>${service.name}</b> ${number(service.byOld)} by old, ${number(service.byNew)} by new</figcaption>${arrivalsChart(
        service.arrivals!,
        moves.filter((move) => move.service === service.name),
        { width: 480, height: 150, label: `New connections to ${service.name} over time` },
      )}</figure>`,
  )}</div>`
}
