/** What `fleetmove plan` prints, one file a case. UPDATE_GOLDEN=1 writes the files anew: read the difference. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { planText } from '../../cli/render/plan.js'
import type { FleetPlan, PlannedHost, PlannedPhase } from '../../controller/plan/fleet-plan.js'
import { planService } from '../../controller/plan/plan-service.js'
import { name } from '../unit/agent/plan/specs.js'
import { exampleService, factsOf } from '../unit/controller/plan/planned.js'

const directory = join(__dirname, 'plan')

const host = (text: string, change: Partial<PlannedHost> = {}): PlannedHost => ({
  name: name(text),
  vantage: false,
  os: 'Debian GNU/Linux 12 (bookworm)',
  kernel: 'Linux 6.1.0-18-amd64 x86_64',
  systemd: true,
  tools: {
    nft: '1.0.6',
    ip: '6.1.0',
    openvpn: '2.6.14',
    wg: '1.0.20210914',
    conntrack: '1.4.7',
    rsync: '3.2.7',
    setsid: '',
  },
  features: { WireGuard: 'yes', VXLAN: 'yes', tun: 'yes', 'packet queue': 'yes' },
  clock: { offsetMs: 12, errorMs: 4 },
  conntrack: { count: 2310, max: 262144 },
  diskKib: { '/usr/local': 82_997_676, '/var/lib': 12_000_000 },
  agent: 'none',
  firewalls: [],
  generation: 0,
  deciding: {},
  warnings: [],
  ...change,
})

const load = 'load table inet fleetmove (09d5fd6916d448bb87f54fa9e4ed6c64: 26 chains)'
const file = '/etc/systemd/system/fleetmove-agent.service'
const phases: PlannedPhase[] = [
  {
    what: 'agents',
    hosts: ['old', 'new'].map((each) => ({
      host: name(each),
      steps: [
        `write ${file}, enable fleetmove-agent.service and start it`,
        'make its WireGuard key in /var/lib/fleetmove/keys, unless it is there',
      ],
      ruleset: null,
      files: [{ path: file, present: '', content: '[Unit]\nDescription=fleetmove agent\n' }],
    })),
    last: [],
  },
  {
    what: 'tunnels',
    hosts: [
      {
        host: name('old'),
        steps: ['let fm1 listen on UDP 51820 for peer (its key) at 198.51.100.20 port 51820', load],
        ruleset: { present: '', planned: 'add table inet fleetmove\nadd chain inet fleetmove fingerprint\n' },
        files: [],
      },
    ],
    last: ['wait until new and old hear each other through their tunnel'],
  },
  {
    what: 'forwarding',
    hosts: [
      {
        host: name('new'),
        steps: [load],
        ruleset: {
          present: Array.from({ length: 12 }, (_, i) => `rule ${i}\n`).join(''),
          planned: Array.from({ length: 12 }, (_, i) => (i === 6 ? 'another rule\none more\n' : `rule ${i}\n`)).join(
            '',
          ),
        },
        files: [],
      },
    ],
    last: ['confirm it over new SSH connections; a host that is not told in time takes it back alone'],
  },
]

const planned = { stage: 'planned', active: name('old') } as const
const service = (change: Parameters<typeof exampleService>[0], queue: 'yes' | 'no') =>
  planService(exampleService(change), planned, () => factsOf({ nftQueue: queue, xtablesQueue: queue }))

const base: FleetPlan = {
  fleet: name('spring'),
  pending: true,
  hosts: [host('old'), host('new', { kernel: 'Linux 6.18.44 x86_64', systemd: false })],
  paths: [
    {
      a: name('new'),
      b: name('old'),
      port: 51820,
      mtu: { aToB: 1500, bToA: 1500 },
      how: 'datagrams with DF on the port itself, from both ends at once',
    },
  ],
  tunnels: [
    {
      a: name('new'),
      b: name('old'),
      index: 1,
      driver: 'wireguard',
      port: 51820,
      mtu: 1440,
      why: 'WireGuard, the fastest, in both kernels',
    },
  ],
  services: [
    service({}, 'yes'),
    service({ name: name('mail'), strategy: 'recreate', holdMs: 15_000, data: ['/var/spool/postfix'] }, 'no'),
  ],
  phases,
  unknown: [],
  problems: [],
}

const cases: Record<string, { plan: FleetPlan; verbose?: true; width?: number; saved?: string }> = {
  pending: { plan: base },
  'every-line': { plan: { ...base, hosts: [], paths: [], tunnels: [], services: [] }, verbose: true },
  saved: { plan: { ...base, hosts: [], paths: [], tunnels: [], services: [], phases: [] }, saved: 'monday.plan' },
  nothing: {
    plan: {
      ...base,
      pending: false,
      paths: [],
      tunnels: [{ ...base.tunnels[0]!, why: 'it stands already' }],
      hosts: [host('old', { agent: 'runs', generation: 7 }), host('probe1', { vantage: true, agent: 'runs' })],
      services: base.services.slice(0, 1),
      phases: [],
    },
    width: 120,
  },
  finalized: {
    plan: { ...base, pending: false, hosts: [host('old')], paths: [], tunnels: [], services: [], phases: [] },
  },
  redirect: {
    plan: {
      ...base,
      ...{ hosts: [], paths: [], tunnels: [], phases: [] },
      services: [
        service(
          {
            listen: [80, 443].map((port) => ({ ...exampleService().listen[0]!, ports: { from: port, to: port } })),
            redirect: { to: 'https://www.example.org', ports: [80] },
          },
          'yes',
        ),
      ],
    },
  },
  'in-the-way': {
    plan: {
      ...base,
      hosts: [
        host('old', {
          clock: { offsetMs: -75_000, errorMs: 8 },
          conntrack: null,
          firewalls: [
            'iptables FORWARD drops what is forwarded',
            'nftables chain forward of inet filter drops what is forwarded, but lets ours pass',
          ],
          warnings: [
            "its clock is 75 s behind this machine's: let NTP set it, or reports will put things in the wrong order",
          ],
        }),
      ],
      paths: [{ ...base.paths[0]!, mtu: { aToB: 0, bToA: 1400 } }],
      tunnels: [],
      services: [],
      phases: [],
      problems: [{ host: 'old', message: "UDP port 51820 of old can't be reached from new" }, { message: 'another' }],
    },
  },
  'not-known': {
    plan: {
      ...base,
      hosts: [host('old', { agent: 'stopped', clock: null })],
      paths: [{ ...base.paths[0]!, mtu: null, how: 'old has no perl; up measures it' }],
      tunnels: [],
      services: [],
      phases: phases.slice(0, 1),
      unknown: [name('old')],
    },
  },
}

test.each(Object.keys(cases))('%s', (title) => {
  const { plan, verbose = false, width = 80, saved } = cases[title]!
  const text = planText(plan, { style: (_format, words) => words, width, verbose, saved })
  const path = join(directory, `${title}.txt`)
  if (process.env.UPDATE_GOLDEN) writeFileSync(path, text)
  expect(existsSync(path) ? readFileSync(path, 'utf8') : '').toBe(text)
  // Names of files and lines of rulesets are as long as they are.
  if (!verbose) for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(width)
})

test('every file belongs to a case', () => {
  expect(readdirSync(directory).sort()).toEqual(
    Object.keys(cases)
      .map((title) => `${title}.txt`)
      .sort(),
  )
})
