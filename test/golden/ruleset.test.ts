/**
 * The rulesets' text, one file a case, and what the real kernel says to it. UPDATE_GOLDEN=1 writes the
 * files anew: read the difference before it is committed.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { ObservedTable } from '../../agent/kernel/observed.js'
import { difference } from '../../agent/plan/difference.js'
import { type RulesetInput, ruleset } from '../../agent/plan/ruleset.js'
import type { HostSpec, ServiceAction } from '../../proto/model/host-spec.js'
import { forward, ip, name, new4, new6, old4, old6, serve, service, spec, tunnel } from '../unit/agent/plan/specs.js'

const directory = join(__dirname, 'ruleset')
const pair = { local: new4, peer: old4 }
const pair6 = { local: new6, peer: old6 }
const moved = { stage: 'moved', active: name('new') } as const

const on = (host: HostSpec, guard: Partial<RulesetInput> = {}): RulesetInput => ({
  spec: host,
  devices: new Map(host.tunnels.map(({ index }) => [index, `fm${index}`])),
  uplinks: ['eth0'],
  opened4: [],
  opened6: false,
  ...guard,
})

const second4 = ip('198.51.100.21')
const cases: Record<string, RulesetInput> = {
  'forwarding-host': on(spec([tunnel(1)], [service('web', [forward(['tcp', 443], pair)])])),
  'active-host': on(spec([tunnel(1)], [service('web', [serve(['tcp', 443], new4)], { active: name('new') })])),
  moved: on(spec([tunnel(1)], [service('web', [serve(['tcp', 80], new4), serve(['tcp', 443], new4)], moved)])),
  'both-families': on(
    spec(
      [tunnel(1, { probe: { port: 52820, pairs: [pair, pair6] } })],
      [service('web', [forward(['tcp', 443], pair), forward(['tcp', 443], pair6), forward(['udp', 443], pair6)])],
    ),
  ),
  'other-port': on(
    spec(
      [tunnel(1)],
      [
        service('mail', [serve(['tcp', 25], new4, 2525)], moved),
        service('web', [forward(['tcp', 443], pair, { port: 8443 }), forward(['tcp', 443], pair6, { port: 8443 })]),
      ],
    ),
  ),
  range: on(spec([tunnel(1)], [service('turn', [forward(['udp', [30000, 30011]], pair), serve(['tcp', 3478], new4)])])),
  canary: on(
    spec(
      [tunnel(1)],
      [
        service(
          'web',
          ([pair, pair6] as const).map((each) => ({
            ...forward(['tcp', 443], each),
            action: { kind: 'split', forward: { tunnel: 1, to: each.peer, port: 0 }, serve: { port: 0 } },
          })),
          {
            stage: 'moving',
            canary: { perMille: 50, seed: 0x5eed, prefixes: ['198.18.0.0/16', '198.18.7.0/24', '2001:db8:c::/48'] },
          },
        ),
      ],
    ),
  ),
  paused: on(
    spec(
      [tunnel(1)],
      [service('mail', [{ ...serve(['tcp', 25], new4), action: { kind: 'pause' } }], { stage: 'moving' })],
    ),
  ),
  'in-gap-moved': on(
    spec(
      [tunnel(1)],
      [
        service(
          'mail',
          [
            {
              ...forward(['tcp', 25], { local: new4, peer: old4 }),
              action: { kind: 'serve', port: 2525 },
              ready: {
                dispatched: forward(['tcp', 25], { local: new4, peer: old4 }).action as ServiceAction,
                standby: { kind: 'serve', port: 2525 },
              },
            },
          ],
          { stage: 'moving', localhost: true },
        ),
      ],
    ),
  ),
  redirect: on(
    spec(
      [tunnel(1)],
      [
        service(
          'web',
          [
            { ...serve(['tcp', 80], old4), action: { kind: 'redirect' } },
            { ...serve(['tcp', 80], old6), action: { kind: 'redirect' } },
            forward(['tcp', 443], { local: old4, peer: new4 }),
          ],
          { ...moved, redirect: { port: 53820, to: 'https://www.example.org' } },
        ),
      ],
    ),
  ),
  'two-tunnels': on(
    spec(
      [tunnel(1), tunnel(2, { peerAddresses: [ip('203.0.113.11')], mtu: 1370 })],
      [
        service('web', [forward(['tcp', 443], pair)]),
        service('web-2', [forward(['tcp', 444], { local: new4, peer: ip('203.0.113.11') }, { tunnel: 2 })], {
          from: name('old2'),
        }),
      ],
    ),
  ),
  'names-of-digits': on(
    spec(
      [tunnel(1)],
      [
        service('1', [forward(['tcp', 443], pair)]),
        service('1-1', [forward(['tcp', 444], pair), serve(['tcp', 445], new4)]),
      ],
    ),
  ),
  localhost: on(
    spec(
      [tunnel(1)],
      [service('mail', [forward(['tcp', 25], pair), forward(['tcp', 25], pair6)], { localhost: true })],
    ),
  ),
  'egress-elsewhere': on(
    spec(
      [tunnel(1)],
      [
        service('mail', [serve(['tcp', 25], new4)], { ...moved, egress: { tunnel: 1, uid: '102' } }),
        service('web', [serve(['tcp', 80], new4)], { ...moved, egress: { tunnel: 1, source: '172.18.0.0/16' } }),
      ],
    ),
  ),
  'egress-own': on(
    spec(
      [tunnel(1)],
      [
        service('mail', [serve(['tcp', 25], new4)], { ...moved, egress: { tunnel: 1, unit: 'postfix.service' } }),
        service('web', [serve(['tcp', 80], new4)], { ...moved, egress: { tunnel: 1, container: 'web' } }),
        service('dns', [serve(['udp', 53], new4)], { ...moved, egress: { tunnel: 1, listeners: true } }),
      ],
    ),
  ),
  'egress-here': on(
    spec(
      [tunnel(1)],
      [service('mail', [forward(['tcp', 25], pair), forward(['tcp', 25], pair6)], { egress: { tunnel: 1 } })],
    ),
    { opened4: ['eth0', 'fm1'], opened6: true },
  ),
  ftp: on(
    spec(
      [tunnel(1)],
      [
        service('ftp', [
          { ...forward(['tcp', 21], pair), helper: 'ftp' },
          { ...forward(['tcp', 21], pair6), helper: 'ftp' },
        ]),
        service('ftp-2', [{ ...serve(['tcp', 2121], new4, 2100), helper: 'ftp' }], moved),
      ],
    ),
  ),
  dark: on(
    spec(
      [tunnel(1)],
      [
        service('web', [serve(['tcp', 80], new4), serve(['tcp', 80], new6)], {
          ...moved,
          dark: { host: name('new'), port: 81 },
        }),
        service('web-2', [serve(['tcp', 81], new4)], { ...moved, dark: { host: name('old'), port: 82 } }),
      ],
    ),
  ),
  'no-services': on(spec([tunnel(1)], [])),
  'one-port-two-addresses': on(
    spec(
      [tunnel(1)],
      [
        service('blog', [forward(['tcp', 443], { local: second4, peer: ip('203.0.113.11') })]),
        service('web', [serve(['tcp', 443], new4)], moved),
      ],
    ),
  ),
  'guard-opened': on(spec([tunnel(1)], [service('web', [forward(['tcp', 443], pair)])]), {
    opened4: ['eth0', 'fm1'],
    opened6: true,
  }),
  'guard-not-opened': on(spec([tunnel(1)], [service('web', [serve(['tcp', 443], new4)])]), { opened4: ['fm1'] }),
}
const names = Object.keys(cases)

describe('the text of a ruleset', () => {
  test.each(names)('%s', (name) => {
    const file = join(directory, `${name}.nft`)
    const { text } = ruleset(cases[name]!)
    if (process.env.UPDATE_GOLDEN === '1') writeFileSync(file, text)
    expect(existsSync(file) ? readFileSync(file, 'utf8') : 'no such file: run with UPDATE_GOLDEN=1').toBe(text)
  })

  it('has no file without a case', () => {
    expect(readdirSync(directory).sort()).toEqual(names.map((name) => `${name}.nft`).sort())
  })

  it('has a fingerprint of its own for each case, and the same one each time', () => {
    const marks = names.map((name) => ruleset(cases[name]!).fingerprint)
    expect(new Set(marks).size).toBe(names.length)
    expect(names.map((name) => ruleset(structuredClone(cases[name]!)).fingerprint)).toEqual(marks)
  })

  it('does not depend on the order in which tunnels and services are given', () => {
    const input = cases['two-tunnels']!
    const turned = {
      ...input.spec,
      tunnels: [...input.spec.tunnels].reverse(),
      services: [...input.spec.services].reverse(),
    }
    expect(ruleset({ ...input, spec: turned })).toEqual(ruleset(input))
  })
})

/** As the agent loads it: with the removal of what the table has and this text doesn't declare. */
function loadText(before: string | null, after: string): string {
  const made = ruleset(cases[after]!)
  const old = before === null ? null : ruleset(cases[before]!)
  const table: ObservedTable | null = old && {
    fingerprint: old.fingerprint,
    chains: old.chains,
    counters: old.counters,
    rules: old.rules,
    elements: old.elements,
    overrides: old.overrides,
  }
  const desired = {
    links: [],
    processes: [],
    addresses: [],
    routes: [],
    rules: [],
    sysctls: {},
    firewall: [],
    moved: { taken: [], silent: [], settled: [], asides: [] },
    ruleset: made,
  }
  const { steps } = difference(
    desired,
    {
      links: [],
      addresses: [],
      routes: [],
      rules: [],
      uplinks: [],
      sysctls: {},
      table,
      firewalls: [],
      asides: [],
      wireguard: [],
      processes: {},
    },
    {},
  )
  return steps.flatMap((step) => (step.do === 'load-ruleset' ? [step.text] : [])).join('')
}

/** Runs a script in a network namespace of its own, which ends with it. */
function inNamespace(script: string, ...args: string[]): string {
  const run = spawnSync('unshare', ['--net', 'sh', '-euc', script, 'sh', ...args], {
    encoding: 'utf8',
    // A bound for what hangs: every text behind every other one takes its time on a busy machine.
    timeout: 300_000,
    maxBuffer: 2 ** 26,
  })
  if (run.status !== 0) throw new Error(`${run.error?.message ?? ''}${run.stderr}`)
  return run.stdout
}

const reason =
  process.getuid?.() !== 0
    ? 'it needs root, to make a network namespace'
    : spawnSync('nft', ['--version']).status !== 0
      ? 'nft is not installed'
      : null
if (reason !== null) process.stderr.write(`skipped: rulesets in the real kernel: ${reason}\n`)

;(reason === null ? describe : describe.skip)('the real kernel', () => {
  let scratch: string
  beforeAll(() => {
    scratch = mkdtempSync(join(tmpdir(), 'golden-'))
  })
  afterAll(() => rmSync(scratch, { recursive: true, force: true }))
  const written = (file: string, text: string): string => {
    const path = join(scratch, file)
    writeFileSync(path, text)
    return path
  }

  it.each(names)('checks and takes %s, twice in a row to the same table', (name) => {
    const file = join(directory, `${name}.nft`)
    const [once, twice] = inNamespace(
      'nft -c -f "$1"; nft -f "$1"; nft -s list ruleset; echo ====; nft -c -f "$1"; nft -f "$1"; nft -s list ruleset',
      file,
    ).split('====\n')
    expect(once).toContain(`comment "fleetmove:${ruleset(cases[name]!).fingerprint}"`)
    expect(twice).toBe(once)
  })

  it('goes from each to every other, and nothing of the one before is left', () => {
    // An Eulerian walk over all ordered pairs: each text loads behind every other one.
    const walk = everyOrderedPair(names)
    const files = walk.map((name, i) => written(`${i}-${name}.nft`, loadText(walk[i - 1] ?? null, name)))
    const listing = 'nft -j -t list ruleset'
    const listed = inNamespace(`for f in "$@"; do nft -f "$f"; ${listing}; done`, ...files)
      .trim()
      .split('\n')
    expect(listed).toHaveLength(walk.length)
    listed.forEach((line, i) => {
      const { nftables } = JSON.parse(line) as { nftables: Record<string, { name: string }>[] }
      const found = (kind: string): string[] => nftables.flatMap((item) => (item[kind] ? [item[kind].name] : [])).sort()
      const { chains, counters } = ruleset(cases[walk[i]!]!)
      expect([basename(files[i]!), found('chain')]).toEqual([basename(files[i]!), [...chains].sort()])
      expect(found('counter')).toEqual([...counters].sort())
    })
  })

  it('keeps counters and arrivals over a change of the rules', () => {
    const first = written('first.nft', loadText(null, 'forwarding-host'))
    const second = written('second.nft', loadText('forwarding-host', 'two-tunnels'))
    const element = '198.51.100.99 . 198.51.100.20 . tcp . 443'
    const shown = inNamespace(
      `nft -f "$1"; nft add element inet fleetmove arrivals4 "{ ${element} }"; nft -f "$2"; nft list set inet fleetmove arrivals4`,
      first,
      second,
    )
    expect(shown).toContain(element)
  })
})

/** A walk that takes every ordered pair of different items exactly once (Hierholzer). */
function everyOrderedPair(items: readonly string[]): string[] {
  const left = new Map(items.map((item) => [item, items.filter((other) => other !== item)]))
  const stack = [items[0]!]
  const walk: string[] = []
  while (stack.length > 0) {
    const next = left.get(stack.at(-1)!)!.pop()
    if (next === undefined) walk.unshift(stack.pop()!)
    else stack.push(next)
  }
  return walk
}
