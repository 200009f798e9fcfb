/** `status`: ten services on one screen, a thousand that page well, and what is wrong before the rest. */
import { statusText } from '../../cli/render/status.js'
import type { FleetStatus, ServiceLine } from '../../controller/status.js'
import type { Stage } from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'
import { expectGolden } from './golden.js'

const style = (_format: unknown, text: string): string => text
const now = Date.parse('2026-11-21T12:00:00Z')
const name = (text: string): Name => text as Name

function line(
  service: string,
  stage: Stage,
  byOld: number,
  byNew: number,
  more: Partial<ServiceLine> = {},
): ServiceLine {
  const onNew = stage === 'moved' || stage === 'finalized'
  return {
    name: name(service),
    stage,
    active: name(onNew ? 'new1' : 'old1'),
    paused: false,
    from: name('old1'),
    to: name('new1'),
    forwarded: Math.round((onNew ? byOld : byNew) * 3600),
    served: Math.round((onNew ? byNew : byOld) * 3600),
    byOld,
    byNew,
    oldShare: byOld + byNew > 0 ? byOld / (byOld + byNew) : null,
    standing: 0,
    standingClients: [],
    oldest: null,
    established: Math.round((onNew ? byOld : byNew) * 4),
    clientsByForwarder: Math.round((onNew ? byOld : byNew) * 11),
    arrivals: [],
    lastProof: { at: '2026-11-21T11:57:00Z', ok: true, preserved: 24, total: 24 },
    ...more,
  }
}

const ten: ServiceLine[] = [
  line('web', 'moved', 0, 1240),
  line('api', 'moved', 3.4, 310, { lastProof: { at: '2026-11-21T11:59:18Z', ok: false, preserved: 11, total: 12 } }),
  line('mail', 'moving', 2.1, 6.8, {
    standing: 14,
    standingClients: [
      { client: '198.18.0.11', connections: 9 },
      { client: '2001:db8:c::12', connections: 5 },
    ],
    oldest: { client: '198.18.0.11', ageMs: 125_000, exact: false },
  }),
  line('imap', 'forwarding', 12, 0.02),
  line('dns-resolver-for-the-office', 'forwarding', 88, 4),
  line('ftp', 'forwarding', 0.3, 0),
  line('postgres', 'planned', 0, 0, { lastProof: null }),
  line('git', 'moved', 0.2, 5, { lastProof: { at: '2026-11-20T10:00:00Z', ok: true, preserved: 12, total: 12 } }),
  line('chat', 'finalized', 0, 0),
  line('turn', 'planned', 0, 0, { lastProof: null }),
]

const healthy = { detail: '', downForMs: null, unreachable: 'hold', unanswered: 0, fits: null } as const
const room = { shed: 0, shedding: false }

const quiet: Omit<FleetStatus, 'fleet' | 'services'> = {
  tunnels: [{ a: name('new1'), b: name('old1'), driver: 'wireguard', mtu: 1420, up: true, rttMs: 0.93, ...healthy }],
  drift: [],
  mended: [],
  fighting: [],
  blind: [],
  unlogged: [],
  locked: [],
  tracked: [{ host: name('new1'), entries: 51_000, most: 65_536, own: 3000, ...room }],
  absent: [],
}
const fleet = (services: ServiceLine[], more: Partial<FleetStatus> = {}): FleetStatus => ({
  fleet: name('spring-move'),
  services,
  ...quiet,
  ...more,
})

test.each([80, 100, 132])('ten services fit one screen of %d columns', (columns) => {
  const text = statusText(fleet(ten), { columns, style, now })
  expectGolden(`terminal/status-${columns}.txt`, text)
  const lines = text.split('\n')
  expect(lines.length).toBeLessThanOrEqual(24)
  for (const each of lines) expect([...each].length).toBeLessThanOrEqual(columns)
})

test('in a pipe nothing is left away', () => {
  expectGolden('terminal/status-pipe.txt', statusText(fleet(ten), { columns: Number.POSITIVE_INFINITY, style, now }))
})

test('what is wrong stands before the services', () => {
  const wrong = fleet(ten.slice(0, 3), {
    tunnels: [
      {
        ...quiet.tunnels[0]!,
        up: false,
        detail:
          'new1: old1 is silent: nothing comes from 203.0.113.10 by UDP port 51820; it is down, or the path to it is',
        downForMs: 74_000,
        unanswered: 31,
      },
      { ...quiet.tunnels[0]!, b: name('old2'), unreachable: 'reset', unanswered: 2, fits: 1338 },
    ],
    locked: [
      { host: name('old1'), id: '0123456789ab', owner: 'anna@desk', command: 'advance --all', sinceMs: now - 95_000 },
    ],
    drift: [{ host: name('new1'), steps: ['add rule for mark 0x02000000'] }],
    mended: [{ host: name('old1'), times: 2, lastMsAgo: 61_000, steps: ['load table inet fleetmove'] }],
    fighting: [{ host: name('old1'), steps: ['set net.ipv4.conf.eth0.forwarding to 1'] }],
    blind: [{ host: name('new1'), reasons: ['nft monitor destroy: not there'] }],
    unlogged: [{ host: name('old1'), reasons: ["metrics: /srv/x.prom is there and is not fleetmove's"] }],
    absent: [name('new2')],
  })
  expectGolden('terminal/status-problems.txt', statusText(wrong, { columns: 80, style, now }))
})

test('a service that a dead run has left paused, and connection tracking that is nearly full', () => {
  const services = [line('web', 'moved', 0, 12), line('mail', 'moving', 0, 0, { paused: true })]
  const tracked = [
    { host: name('old1'), entries: 52_428, most: 65_536, own: 0, ...room },
    { host: name('new1'), entries: 65_001, most: 65_536, own: 60_010, shed: 214, shedding: true },
    { host: name('new2'), entries: 0, most: 0, own: 0, ...room },
  ]
  expectGolden('terminal/status-paused.txt', statusText(fleet(services, { tracked }), { columns: 80, style, now }))
  const locked = [{ host: name('old1'), id: '0', owner: 'anna@desk', command: 'advance mail', sinceMs: now - 5000 }]
  expect(statusText(fleet(services, { locked }), { columns: 80, style, now })).not.toContain('paused')
})

test('of a thousand services the interesting ones come first, and many tunnels are summed up', () => {
  const thousand = Array.from({ length: 1000 }, (_, i) =>
    line(`site-${i}`, i === 777 ? 'moving' : i % 10 === 3 ? 'moved' : 'forwarding', i % 10 === 3 ? (i % 7) / 10 : 2, 1),
  )
  const tunnels = Array.from({ length: 40 }, (_, i) => ({
    ...quiet.tunnels[0]!,
    a: name(`new${i}`),
    b: name(`old${i}`),
    rttMs: 1 + i,
    up: i !== 7,
    detail: i === 7 ? "169.254.7.1 doesn't answer" : '',
  }))
  const text = statusText(fleet(thousand, { tunnels }), { columns: 80, style, now })
  const lines = text.split('\n')
  expect(lines).toHaveLength(1000 + 7)
  expectGolden('terminal/status-1000.txt', `${lines.slice(0, 12).join('\n')}\n`)
})

test('no service in the stages asked for', () => {
  expect(statusText(fleet([]), { columns: 80, style, now })).toContain('No service is in one of these stages.')
})
