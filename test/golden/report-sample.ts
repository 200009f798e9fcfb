/** A move of four services over two days, as journal and record tell it afterwards. */
import type { Fleet } from '../../controller/config/fleet.js'
import { parseFleet } from '../../controller/config/load-fleet.js'
import type { JournalEntry } from '../../controller/journal.js'
import type { ArrivalRow } from '../../controller/plan/arrivals-over-time.js'
import type { RecordEntry, RecordedProof } from '../../controller/record.js'
import { compose, type Report } from '../../controller/report.js'
import type { Stage } from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'

const text = `
fleet: spring-move
hosts:
  old: { ssh: root@203.0.113.10, addresses: [203.0.113.10, "2001:db8:a::10"] }
  new: { ssh: "deploy@198.51.100.20:2222", become: sudo, addresses: [198.51.100.20, "2001:db8:b::20"] }
services:
  web: { from: old, to: new, listen: [tcp/80, tcp/443, udp/443], unit: nginx.service }
  mail: { from: old, to: new, listen: [tcp/25, tcp/587], strategy: recreate, unit: postfix.service }
  ftp: { from: old, to: new, listen: [{ port: tcp/21, helper: ftp }, udp/30000-30100] }
  api: { from: old, to: new, listen: [{ port: tcp/8443, old: 8443, new: 9443 }] }
`
const start = Date.parse('2026-11-19T20:00:00Z')
const hour = 3_600_000
export const name = (value: string): Name => value as Name
const at = (hours: number): string => new Date(start + hours * hour).toISOString()

const moves: Record<string, number> = { web: 4, mail: 5.5, ftp: 20, api: 21 }
const loads: Record<string, number> = { web: 42, mail: 5, ftp: 0.6, api: 12 }

/** Clients that go over to the new address after DNS was changed, at hour 2. */
function arrivals(): RecordEntry[] {
  const rows: Record<'old' | 'new', ArrivalRow[]> = { old: [], new: [] }
  const span = hour / 4
  for (let quarter = 0; quarter < 46 * 4; quarter++) {
    const from = start + quarter * span
    const hours = quarter / 4
    const onOld = hours < 2 ? 1 : 0.015 + 0.985 * Math.exp(-(hours - 2) / 3)
    const daily = 1 + 0.45 * Math.sin(((hours + 14) / 24) * 2 * Math.PI)
    for (const [service, load] of Object.entries(loads)) {
      const all = (load * daily * span) / 1000
      const moved = hours >= moves[service]!
      const byOld = Math.round(all * onOld)
      const byNew = Math.round(all * (1 - onOld))
      if (byOld > 0)
        rows.old.push({ service, from, to: from + span, forwarded: moved ? byOld : 0, served: moved ? 0 : byOld })
      if (byNew > 0)
        rows.new.push({ service, from, to: from + span, forwarded: moved ? 0 : byNew, served: moved ? byNew : 0 })
    }
  }
  return (['old', 'new'] as const).map((host) => ({ at: at(46), type: 'arrivals', host: name(host), rows: rows[host] }))
}

const proof = (more: Partial<RecordedProof> = {}): RecordedProof => ({
  prober: 'this machine',
  ingress: name('new'),
  address: '198.51.100.20',
  protocol: 'tcp',
  port: 52820,
  what: 'probe',
  bytes: 64,
  kind: 'preserved',
  cause: 'the origin saw the same address',
  receipt: { source: '192.0.2.77', sourcePort: 41234, destination: '203.0.113.10', destinationPort: 52820, bytes: 64 },
  ...more,
})
const { receipt: _receipt, ...listener } = proof({
  what: 'listener',
  port: 443,
  bytes: 0,
  cause: 'a socket of 203.0.113.10:443 has the peer 192.0.2.77:41236; it came out of tunnel 1',
})
const { receipt: _none, ...failed } = proof({
  prober: 'probe1',
  ingress: name('old'),
  address: '2001:db8:a::10',
  bytes: 2200,
  kind: 'truncated',
  cause: 'small packets pass, large ones do not: the path drops packets above 1280 bytes',
})

function verification(
  hours: number,
  service: string,
  proofs: RecordedProof[],
): { entries: JournalEntry[]; record: RecordEntry[] } {
  const preserved = proofs.filter(({ kind }) => kind === 'preserved').length
  return {
    entries: [
      {
        at: at(hours),
        type: 'proof',
        service: name(service),
        ok: preserved === proofs.length,
        preserved,
        total: proofs.length,
        probers: ['192.0.2.77'],
      },
    ],
    record: [{ at: at(hours), type: 'proofs', service: name(service), proofs }],
  }
}

const run = (
  hours: number,
  id: string,
  command: string,
  ms: number | null,
  outcome: 'done' | 'health' | 'gate' = 'done',
  message?: string,
): RecordEntry[] => [
  { at: at(hours), type: 'run', run: id, command, operator: 'anna@desk' },
  ...(ms === null
    ? []
    : [{ at: at(hours + ms / hour), type: 'ran' as const, run: id, ms, outcome, ...(message ? { message } : {}) }]),
]

const stage = (hours: number, service: string, to: Stage): JournalEntry => ({
  at: at(hours),
  type: 'stage',
  service: name(service),
  stage: to,
})

export interface Sample {
  fleet: Fleet
  entries: JournalEntry[]
  record: RecordEntry[]
}

/** @param upTo hours after the beginning: what had happened by then */
export function sample(upTo = 46): Sample {
  const parsed = parseFleet(text, 'fleet.yaml')
  const services = Object.keys(moves)
  const good = [proof(), proof({ bytes: 2200 }), listener]
  const checks = [
    ...services.map((service) => verification(0.02, service, good)),
    verification(4.01, 'web', [...good, failed]),
    verification(4.2, 'web', good),
    ...services.slice(1).map((service) => verification(moves[service]! + 0.01, service, good)),
  ]
  const entries: JournalEntry[] = [
    ...checks.flatMap((each) => each.entries),
    ...services.map((service) => stage(0.03, service, 'forwarding')),
    ...services.flatMap((service): JournalEntry[] => {
      const when = moves[service]!
      return [
        stage(when, service, 'moving'),
        {
          at: at(when + 0.05),
          type: 'switch',
          service: name(service),
          to: name('new'),
          ms: service === 'mail' ? 1840 : 43,
        },
        stage(when + 0.3, service, 'moved'),
        stage(45.9, service, 'finalized'),
      ]
    }),
  ]
  const record: RecordEntry[] = [
    ...run(0, 'a1', 'up', 21_400),
    ...(['old', 'new'] as const).flatMap((host): RecordEntry[] => [
      {
        at: at(0.001),
        type: 'host',
        host: name(host),
        what: 'installed',
        steps: [
          'put the agent and its runtime into /usr/local/lib/fleetmove',
          'start the agent as a service of the host',
        ],
      },
      {
        at: at(0.003),
        type: 'host',
        host: name(host),
        what: 'changed',
        steps: [
          'add link fm1',
          'add address 169.254.7.1/30 to fm1',
          'set net.ipv4.conf.eth0.forwarding to 1',
          'load table inet fleetmove (27 chains)',
        ],
      },
    ]),
    ...run(
      3.5,
      'a2',
      'advance web',
      9000,
      'health',
      'web stays on old: web isn’t healthy within 30 s: <b>http://127.0.0.1:80/healthz</b> answered 503',
    ),
    {
      at: at(3.502),
      type: 'host',
      host: name('new'),
      what: 'undone',
      steps: ['load table inet fleetmove (27 chains)'],
    },
    ...run(4, 'a3', 'advance web', 64_000),
    { at: at(4.04), type: 'drain', service: name('web'), host: name('old'), ms: 60_000, left: 3 },
    ...checks.flatMap((each) => each.record),
    ...run(5.5, 'a4', 'advance mail', 12_000),
    { at: at(5.51), type: 'hold', service: name('mail'), ms: 1840, clients: 37, dropped: 0 },
    { at: at(5.51), type: 'drain', service: name('mail'), host: name('old'), ms: 480, left: 0 },
    ...run(20, 'a5', 'advance ftp api', null),
    ...run(
      44,
      'a6',
      'finalize',
      900,
      'gate',
      '2 clients came by the old address within the last 3600 s (192.0.2.9, 2001:db8:77::5)',
    ),
    ...run(45.9, 'a7', 'finalize', 4100),
    ...arrivals(),
    ...(['old', 'new'] as const).map(
      (host): RecordEntry => ({
        at: at(45.901),
        type: 'host',
        host: name(host),
        what: 'cleaned',
        steps: [
          'delete table inet fleetmove',
          'set net.ipv4.conf.eth0.forwarding to 0',
          'delete link fm1',
          'stop the agent and remove its files',
        ],
      }),
    ),
  ]
  const known = <T extends { at: string }>(all: T[]): T[] =>
    all.filter((each) => Date.parse(each.at) <= start + upTo * hour).sort((a, b) => Date.parse(a.at) - Date.parse(b.at))
  return { fleet: parsed, entries: known(entries), record: known(record) }
}

export const sampleReport = (): Report =>
  compose({ ...sample(), live: { specs: new Map(), rows: new Map(), unasked: [] }, now: start + 47 * hour })
