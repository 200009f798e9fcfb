/** The page's parts, one after another. */
import type { Report, ReportedRun, ReportedService } from '../../../controller/report.js'
import { type ErrorCode, FleetmoveError } from '../../../proto/model/error.js'
import { exitCodeOf } from '../../exit-codes.js'
import { type Html, html, nothing } from './html.js'
import { moment, number, span } from './times.js'

export function tiles(report: Report): Html {
  const { services, verifications, moves } = report
  const done = services.filter(({ stage }) => stage === 'finalized').length
  const moved = services.filter(({ stage }) => stage === 'moved').length + done
  const proofs = verifications.flatMap((each) => each.proofs)
  const tested = proofs.filter(({ kind }) => kind !== 'untested')
  const preserved = proofs.filter(({ kind }) => kind === 'preserved').length
  const [byOld, byNew] = [sum(services, 'byOld'), sum(services, 'byNew')]
  const longest = Math.max(0, ...moves.map(({ switchMs }) => switchMs))
  const waited = moves.flatMap(({ hold }) => hold ?? [])
  const tile = (value: string, what: string, kind = ''): Html =>
    html`<div class="tile ${kind}"><b>${value}</b><span>${what}</span></div>`
  return html`<div class="tiles">${[
    tile(
      `${moved} of ${services.length}`,
      `services moved, ${done} finalized`,
      moved === services.length ? 'good' : '',
    ),
    tile(
      tested.length === 0 ? '-' : `${number(preserved)} of ${number(tested.length)}`,
      'probes proved the path and the source address',
      tested.length === 0 ? '' : preserved === tested.length ? 'good' : 'bad',
    ),
    tile(moves.length === 0 ? '-' : span(longest), 'the longest switch'),
    ...(waited.length > 0
      ? [
          tile(
            span(Math.max(...waited.map(({ ms }) => ms))),
            `the longest that new clients were kept waiting; ${number(waited.reduce((all, each) => all + each.clients, 0))} waited, none was refused`,
          ),
        ]
      : []),
    tile(number(byOld + byNew), `connections opened, ${number(byOld)} by old addresses`),
  ]}</div>`
}

const sum = (services: readonly ReportedService[], key: 'byOld' | 'byNew'): number =>
  services.reduce((all, service) => all + service[key], 0)

export function servicesTable({ services }: Report): Html {
  return html`<div class="card"><table><thead><tr><th>Service</th><th>From</th><th>To</th><th>Listens on</th><th>Stage</th><th class="n">By old</th><th class="n">By new</th><th class="n">Old share</th><th>Last proof</th></tr></thead><tbody>${services.map(
    (service) => {
      const all = service.byOld + service.byNew
      return html`<tr><td><b>${service.name}</b></td><td>${service.from}</td><td>${service.to}</td><td>${service.listen.join(', ')}</td><td><span class="chip s-${service.stage}">${service.stage}</span></td><td class="n">${number(service.byOld)}</td><td class="n">${number(service.byNew)}</td><td class="n">${all > 0 ? `${((service.byOld / all) * 100).toFixed(1)} %` : '-'}</td><td class="w">${proofCell(service)}</td></tr>`
    },
  )}</tbody></table></div>`
}

function proofCell({ lastProof }: ReportedService): Html {
  if (!lastProof) return html`-`
  const word = lastProof.ok ? html`<span class="ok">held</span>` : html`<span class="no">failed</span>`
  return html`${word} ${`${lastProof.preserved}/${lastProof.total}`}, ${moment(lastProof.at)}`
}

export function movesTable({ moves, services }: Report): Html {
  if (moves.length === 0) return html`<p class="hint">No service has been switched yet.</p>`
  const strategy = new Map(services.map((service) => [service.name, service.strategy]))
  return html`<div class="card"><table><thead><tr><th>When</th><th>Service</th><th>To</th><th>Strategy</th><th class="n">Switch</th><th class="n">Clients held</th><th class="n">Longest wait</th><th class="n">Drain</th></tr></thead><tbody>${moves.map(
    ({ at, service, to, switchMs, hold, drain }) =>
      html`<tr><td class="w">${moment(at)}</td><td><b>${service}</b></td><td>${to}</td><td>${strategy.get(service) ?? ''}</td><td class="n">${span(switchMs)}</td><td class="n">${hold ? `${number(hold.clients)}${hold.dropped > 0 ? `, ${hold.dropped} not kept` : ''}` : '-'}</td><td class="n">${hold ? span(hold.ms) : '-'}</td><td class="n">${drain ? `${span(drain.ms)}${drain.left > 0 ? `, ${number(drain.left)} left` : ''}` : '-'}</td></tr>`,
  )}</tbody></table></div>`
}

/** The last one of a service is open, where there are few, or it failed. */
export function proofs({ verifications }: Report): Html {
  if (verifications.length === 0) return html`<p class="hint">Nothing has been verified yet.</p>`
  const last = new Map(verifications.map((each, i) => [each.service, i]))
  return html`${verifications
    .map(({ at, service, proofs: own }, i) => {
      const preserved = own.filter(({ kind }) => kind === 'preserved').length
      const tested = own.filter(({ kind }) => kind !== 'untested').length
      const good = preserved === tested
      const open = last.get(service) === i && own.length <= 60 && (last.size <= 2 || !good)
      return html`<details${open ? html` open` : nothing}><summary><b>${service}</b> <span class="${good ? 'ok' : 'no'}">${good ? 'held' : 'failed'}</span> <span class="right">${`${preserved} of ${tested} proofs, ${moment(at)}`}</span></summary><div class="scroll"><table><thead><tr><th>From</th><th>To</th><th>By</th><th>What</th><th>Seen by the origin</th><th>Verdict</th></tr></thead><tbody>${own.map(proofRow)}</tbody></table></div></details>`
    })
    .reverse()}`
}

type Proof = Report['verifications'][number]['proofs'][number]

function proofRow(proof: Proof): Html {
  const { receipt } = proof
  const seen = receipt
    ? `${host(receipt.source, receipt.sourcePort)} → ${host(receipt.destination, receipt.destinationPort)}, ${receipt.bytes} B`
    : ''
  const what = proof.what === 'listener' ? 'the service itself' : `probe, ${proof.bytes} B each way`
  const verdict =
    proof.kind === 'preserved'
      ? html`<span class="ok">preserved</span>`
      : html`<span class="${proof.kind === 'untested' ? '' : 'no'}">${proof.kind}</span>: ${proof.cause}`
  return html`<tr><td class="w">${proof.prober}</td><td class="w">${`${proof.protocol} ${host(proof.address, proof.port)}`}</td><td>${proof.ingress}</td><td>${what}</td><td>${seen === '' ? proof.cause : seen}</td><td>${verdict}</td></tr>`
}

const host = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`

export function runsTable({ runs }: Report): Html {
  if (runs.length === 0) return html`<p class="hint">No command is on record on this machine.</p>`
  return html`<div class="card"><table><thead><tr><th>When</th><th>Command</th><th>By</th><th class="n">Took</th><th>Ended</th></tr></thead><tbody>${runs.map(
    (run) =>
      html`<tr><td class="w">${moment(run.at)}</td><td class="w"><code>${`fleetmove ${run.command}`}</code></td><td>${run.operator}</td><td class="n">${run.ms === null ? '-' : span(run.ms)}</td><td>${outcome(run)}</td></tr>`,
  )}</tbody></table></div>`
}

function outcome({ outcome: how, message }: ReportedRun): Html {
  if (how === 'done') return html`<span class="ok">done</span>`
  if (how === null) return html`<span class="no">did not end in order</span>`
  const code = exitCodeOf(new FleetmoveError(how as ErrorCode, { message: '' }))
  return html`<span class="no">exit ${code}, ${how}</span>${message ? html`<br>${message}` : nothing}`
}

const words: Readonly<Record<string, string>> = {
  installed: 'installed',
  changed: 'changed',
  undone: 'put back: a change was taken back',
  cleaned: 'put back: as it was found',
}

export function changes({ changes: all }: Report): Html {
  if (all.length === 0) return html`<p class="hint">Nothing was changed by this machine.</p>`
  return html`${all.map(({ host: name, events }) => {
    const clean = events.at(-1)?.what === 'cleaned'
    const steps = events.reduce((count, each) => count + each.steps.length, 0)
    return html`<details><summary><b>${name}</b> ${clean ? html`<span class="ok">as it was found</span>` : html`<span class="chip">in use</span>`} <span class="right">${`${number(steps)} steps, ${moment(events.at(-1)!.at)}`}</span></summary><div class="scroll"><table><thead><tr><th>When</th><th>What</th><th>Steps</th></tr></thead><tbody>${events.map(
      ({ at, what, steps: own }) =>
        html`<tr><td class="w">${moment(at)}</td><td>${words[what] ?? what}</td><td><ul class="steps">${own.map((step) => html`<li>${step}</li>`)}</ul></td></tr>`,
    )}</tbody></table></div></details>`
  })}`
}

export function firewalls({ firewalls: sites, closed, services }: Report): Html {
  const waiting = services.filter(({ stage }) => stage !== 'moved' && stage !== 'finalized').map(({ name }) => name)
  return html`<p class="hint">While the move lasted the old hosts' addresses led here as well. Now the world comes to the new hosts alone: what is listed must be open on them${waiting.length > 0 ? ` (not moved yet: ${waiting.join(', ')})` : ''}, and can be closed on the old ones.</p>${sites.map(
    (site) =>
      html`<h3>${site.host}: open</h3><div class="card"><table><thead><tr><th>Port</th><th>Service</th><th>Remarks</th></tr></thead><tbody>${site.open.map(
        ({ listener, service, redirectTo, helper }) =>
          html`<tr><td><code>${listener}</code></td><td>${service}</td><td>${[
            ...(redirectTo === undefined
              ? []
              : [`the process listens on ${redirectTo}: the host must translate, as fleetmove did`]),
            ...(helper === 'ftp' ? ['with the connection tracking helper for FTP'] : []),
          ].join('; ')}</td></tr>`,
      )}</tbody></table></div><h3>${site.host}: as nft</h3><pre>${site.nft}</pre>`,
  )}${closed.map(
    ({ host: name, ports }) =>
      html`<h3>${name}: nobody answers there any more</h3><div class="card"><table><tbody>${ports.map(({ listener, service }) => html`<tr><td class="w"><code>${listener}</code></td><td>${service}</td></tr>`)}</tbody></table></div>`,
  )}`
}
