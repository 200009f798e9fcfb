/** The whole report as one file: it needs no network, and no script to be read. */
import type { Report } from '../../../controller/report.js'
import { version } from '../../version.js'
import { arrivalsChart, arrivalsLegend, serviceCharts, timeline } from './charts.js'
import { Html, html, nothing } from './html.js'
import { changes, firewalls, movesTable, proofs, runsTable, servicesTable, tiles } from './sections.js'
import { style } from './style.js'
import { moment, span } from './times.js'

export function reportPage(report: Report): string {
  const { begun, ended } = report
  const body =
    begun === null || ended === null
      ? html`<p class="hint">Nothing of this fleet is on record on this machine: run the commands of a move here, then ask again.</p>`
      : sections(report, { from: begun, to: Math.max(ended, begun + 1000) })
  const page = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark"><title>${`${report.fleet}: report of a move`}</title>
<style>${new Html(style)}</style></head>
<body><main><header><p class="kicker">Report of a move</p><h1>${report.fleet}</h1><p class="when">${when(report)}</p></header>
${body}
<footer>${`Made by fleetmove ${version}, ${moment(report.madeAt)}. All times are UTC.`}</footer></main></body></html>
`
  return page.text
}

function when({ begun, ended, operators }: Report): string {
  if (begun === null || ended === null) return ''
  const by = operators.length > 0 ? `, by ${operators.join(', ')}` : ''
  return `${moment(begun)} to ${moment(ended)} UTC, ${span(ended - begun)}${by}`
}

function sections(report: Report, axis: { from: number; to: number }): Html {
  const unasked = report.unasked.map(
    ({ host, why }) =>
      html`<p class="hint"><b>${host}</b> could not be asked (${why}): what came there since is missing.</p>`,
  )
  return html`${tiles(report)}${unasked}
<h2>Stages</h2>${timeline(report, axis)}
<h2>Arrivals by address</h2>${
    report.arrivals
      ? html`<figure>${arrivalsLegend()}${arrivalsChart(report.arrivals, report.moves, { width: 1000, height: 260, label: 'New connections of all services over time' })}<figcaption>New connections a second, of all services. fleetmove's own probes are among them.</figcaption></figure>${serviceCharts(report.services, report.moves)}`
      : html`<p class="hint">Nobody has come yet, as far as is known.</p>`
  }
<h2>Services</h2>${servicesTable(report)}
<h2>Switches</h2><p class="hint">Rolling: how long the switch took on both hosts; both answer meanwhile. Recreate: how long nobody answered; new clients were kept waiting, not refused.</p>${movesTable(report)}
<h2>Proofs</h2><p class="hint">A probe by an ingress address is preserved when the origin sees it come from the same address as one that went straight to it.</p>${proofs(report)}
<h2>Commands</h2>${runsTable(report)}
<h2>Changes to the hosts</h2>${changes(report)}
<h2>The firewall from now on</h2>${firewalls(report)}${nothing}`
}
