import fc from 'fast-check'
import { converge, nothing, plan } from '../../../../agent/apply.js'
import type { ObservedLink } from '../../../../agent/kernel/observed.js'
import type { Step } from '../../../../agent/kernel/step.js'
import type { Found } from '../../../../agent/plan/difference.js'
import { sysctlKeys } from '../../../../agent/plan/sysctls.js'
import type { HostSpec } from '../../../../proto/model/host-spec.js'
import { FakeKernel, type FakeKernelOptions } from '../../../fakes/fake-kernel.js'
import { cases } from '../../cases.js'
import { anySpec, forward, ip, new4, new6, old4, old6, serve, service, spec, tunnel } from './specs.js'

const link = (name: string, kind = ''): ObservedLink => ({ name, kind, mtu: 1500, up: true, vxlan: null })
const links = ['eth0', 'eth1', 'eth2', 'eth3', 'docker0'].map((name) => link(name))
const machine: FakeKernelOptions = {
  links,
  addresses: [
    { device: 'eth0', ip: new4, prefix: 24 },
    { device: 'eth0', ip: new6, prefix: 64 },
    { device: 'eth1', ip: ip('198.51.100.21'), prefix: 24 },
  ],
  uplinks: [
    { family: 4, device: 'eth0' },
    { family: 6, device: 'eth0' },
  ],
}
const pair = { local: new4, peer: old4 }
const pair6 = { local: new6, peer: old6 }
const fleet4 = spec([tunnel(1)], [service('web', [forward(['tcp', 443], pair)])])
const fleet6 = spec([tunnel(1)], [service('web', [forward(['tcp', 443], pair), forward(['tcp', 443], pair6)])])

/** A host with its ledger: what the agent is made of, without its trials. */
class Subject {
  readonly kernel: FakeKernel
  found: Found = {}
  /** What a host with that ledger and nothing else would find at each step. */
  constructor(options: FakeKernelOptions = machine) {
    this.kernel = new FakeKernel(options)
  }
  async become(wanted: HostSpec): Promise<Step[]> {
    const { steps } = await converge(this.kernel, wanted, this.found, async (found) => {
      this.found = found
    })
    return steps
  }
  plan = async (wanted: HostSpec): Promise<Step[]> => (await plan(this.kernel, wanted, this.found)).steps
  state = async () => this.kernel.observe([...sysctlKeys(await this.kernel.observe([])), ...globals])
}
const globals = ['net.ipv4.ip_forward', 'net.ipv4.conf.all.forwarding', 'net.ipv6.conf.default.forwarding']

const values = (...allowed: string[]): fc.Arbitrary<string> => fc.constantFrom(...allowed)
/** Sysctls as they may be on any host: some forward already, by device or altogether. */
const anySysctls = fc
  .record({
    all: values('0', '1'),
    fallback: values('0', '1'),
    redirects: values('0', '1'),
    forwarding4: fc.array(values('0', '1'), { minLength: links.length, maxLength: links.length }),
    forwarding6: fc.array(values('0', '1'), { minLength: links.length, maxLength: links.length }),
    acceptRa: fc.array(values('0', '1', '2'), { minLength: links.length, maxLength: links.length }),
    filter: fc.array(values('0', '1', '2'), { minLength: links.length, maxLength: links.length }),
  })
  .map((found) => ({
    'net.ipv6.conf.all.forwarding': found.all,
    'net.ipv6.conf.default.forwarding': found.fallback,
    'net.ipv4.conf.all.send_redirects': found.redirects,
    ...Object.fromEntries(
      links.flatMap(({ name }, i) => [
        [`net.ipv4.conf.${name}.forwarding`, found.forwarding4[i]!],
        [`net.ipv6.conf.${name}.forwarding`, found.forwarding6[i]!],
        [`net.ipv6.conf.${name}.accept_ra`, found.acceptRa[i]!],
        [`net.ipv4.conf.${name}.rp_filter`, found.filter[i]!],
      ]),
    ),
  }))

const place = (steps: readonly Step[], matches: (step: Step) => boolean): number[] =>
  steps.flatMap((step, i) => (matches(step) ? [i] : []))
const last = (places: number[]): number => Math.max(-1, ...places)
const first = (places: number[]): number => Math.min(Number.POSITIVE_INFINITY, ...places)
const is =
  (...kinds: Step['do'][]) =>
  (step: Step): boolean =>
    kinds.includes(step.do)
const opens = (step: Step): boolean =>
  step.do === 'set-sysctl' && step.key.endsWith('.forwarding') && step.value === '1' && !/\.fmw?\d/.test(step.key)

/** What must hold of any list of steps, whatever it is for. */
function obeysOrder(steps: readonly Step[]): void {
  const table = place(steps, is('load-ruleset'))
  // Forwarding opens behind the guard.
  if (table.length > 0) expect(first(place(steps, opens))).toBeGreaterThan(last(table))
  // Nothing steers packets to what isn't there yet, or isn't there any more.
  expect(last(place(steps, is('add-link', 'add-address', 'add-route', 'add-rule')))).toBeLessThan(first(table))
  const deleted = last(place(steps, is('delete-table')))
  expect(first(place(steps, is('delete-rule', 'delete-route')))).toBeGreaterThan(Math.max(deleted, last(table)))
  expect(first(place(steps, is('delete-route')))).toBeGreaterThan(last(place(steps, is('delete-rule'))))
  // What rides goes before what carries.
  for (const [i, step] of steps.entries()) {
    if (step.do !== 'delete-link' || !step.name.startsWith('fmw')) continue
    const upper = place(steps, (other) => other.do === 'delete-link' && other.name === step.name.replace('fmw', 'fm'))
    expect(last(upper)).toBeLessThan(i)
  }
}

describe('from nothing to A to B to nothing', () => {
  it('converges each time, obeys the order, and leaves the host as it was found', async () => {
    await fc.assert(
      fc.asyncProperty(anySpec, anySpec, anySysctls, async (a, b, sysctls) => {
        const subject = new Subject({ ...machine, sysctls })
        const start = await subject.state()
        for (const wanted of [a, b]) {
          obeysOrder(await subject.become(wanted))
          expect(await subject.plan(wanted)).toEqual([])
          const bare = { ...wanted, generation: wanted.generation + 1 }
          expect(await subject.plan(bare)).toEqual([])
        }
        obeysOrder(await subject.become(nothing(b)))
        expect(await subject.state()).toEqual(start)
        expect(subject.found).toEqual({})
      }),
      { numRuns: cases(300) },
    )
  }, 60_000)

  it('goes on from any step at which it was interrupted, with what the ledger held by then', async () => {
    await fc.assert(
      fc.asyncProperty(anySpec, anySpec, anySysctls, fc.nat(60), async (a, b, sysctls, after) => {
        const subject = new Subject({ ...machine, sysctls })
        const start = await subject.state()
        await subject.become(a)
        let left = after
        subject.kernel.refuseNext(() => left-- === 0, 'the agent was killed')
        await subject.become(b).catch(() => undefined)
        subject.kernel.refuseNext(() => false, '')
        await subject.become(a)
        await subject.become(nothing(a))
        expect(await subject.state()).toEqual(start)
        expect(subject.found).toEqual({})
      }),
      { numRuns: cases(200) },
    )
  }, 60_000)

  it('mends whatever somebody else has broken', async () => {
    const change = fc.constantFrom(
      { deleteLink: 'fm1' },
      { deleteLink: 'fmw1' },
      { deleteRules: true as const },
      { deleteTable: true as const },
      { killProcess: 'openvpn-fm1' },
      { killProcess: 'wireguard-fm1' },
      { sysctl: ['net.ipv4.conf.eth0.forwarding', '0'] as [string, string] },
    )
    await fc.assert(
      fc.asyncProperty(anySpec, fc.array(change, { minLength: 1, maxLength: 3 }), async (a, changes) => {
        const subject = new Subject()
        await subject.become(a)
        const whole = await subject.state()
        for (const each of changes) subject.kernel.meddle(each)
        await subject.become(a)
        const sorted = (state: object): unknown =>
          Object.fromEntries(
            Object.entries(state).map(([key, part]) => [
              key,
              Array.isArray(part) ? part.map((item) => JSON.stringify(item)).sort() : part,
            ]),
          )
        expect(sorted(await subject.state())).toEqual(sorted(whole))
      }),
      { numRuns: cases(100) },
    )
  }, 60_000)
})

describe('sysctls', () => {
  const settings = (steps: Step[]): string[] =>
    steps.flatMap((step) => (step.do === 'set-sysctl' ? [`${step.key}=${step.value}`] : []))
  const text = async (subject: Subject, wanted: HostSpec): Promise<string> =>
    (await plan(subject.kernel, wanted, subject.found)).desired.ruleset?.text ?? ''

  it('are few: the tunnel, the device by which clients come in, and for IPv6 the one switch', async () => {
    expect(settings(await new Subject().become(fleet4))).toEqual([
      'net.ipv4.conf.fm1.rp_filter=2',
      'net.ipv6.conf.fm1.accept_ra=0',
      'net.ipv4.conf.all.send_redirects=0',
      'net.ipv4.conf.fm1.forwarding=1',
      'net.ipv4.conf.eth0.forwarding=1',
    ])
    expect(settings(await new Subject().become(fleet6))).toEqual([
      'net.ipv4.conf.fm1.rp_filter=2',
      'net.ipv6.conf.fm1.accept_ra=0',
      'net.ipv4.conf.all.send_redirects=0',
      'net.ipv6.conf.eth0.accept_ra=2',
      'net.ipv4.conf.fm1.forwarding=1',
      'net.ipv4.conf.eth0.forwarding=1',
      'net.ipv6.conf.all.forwarding=1',
    ])
  })

  it("put back what the kernel's WireGuard has written itself, and leave it alone without one", async () => {
    const redirects = 'net.ipv4.conf.all.send_redirects'
    for (const value of ['0', '1']) {
      const subject = new Subject({ ...machine, sysctls: { [redirects]: value } })
      await subject.become(fleet4)
      expect((await subject.kernel.observe([redirects])).sysctls).toEqual({ [redirects]: '0' })
      await subject.become(nothing(fleet4))
      expect((await subject.kernel.observe([redirects])).sysctls).toEqual({ [redirects]: value })
    }
    const userspace = spec([tunnel(1, { userspace: true })], fleet4.services)
    expect(settings(await new Subject().become(userspace)).join()).not.toContain(redirects)
  })

  it('are put back when only some of them are still wanted', async () => {
    const subject = new Subject()
    await subject.become(fleet6)
    expect(settings(await subject.become(fleet4))).toEqual([
      'net.ipv6.conf.all.forwarding=0',
      'net.ipv6.conf.eth0.accept_ra=1',
    ])
  })

  it('leave a host that forwards already alone, and do not drop what it forwards', async () => {
    const sysctls = Object.fromEntries(
      links.flatMap(({ name }) => [
        [`net.ipv4.conf.${name}.forwarding`, '1'],
        [`net.ipv6.conf.${name}.forwarding`, '1'],
      ]),
    )
    const subject = new Subject({ ...machine, sysctls: { ...sysctls, 'net.ipv6.conf.all.forwarding': '1' } })
    const wanted = { ...fleet6, tunnels: [tunnel(1, { driver: 'direct' })] }
    // Such a host ignores router advertisements (accept_ra=1), and must go on ignoring them.
    expect(settings(await subject.become(wanted))).toEqual(['net.ipv4.conf.eth1.rp_filter=2'])
    expect(await text(subject, wanted)).not.toMatch(/guard-forward.* drop$/m)
  })

  it('drop what is not ours exactly where forwarding is our doing', async () => {
    const sysctls = { 'net.ipv4.conf.eth1.forwarding': '1' }
    const subject = new Subject({ ...machine, sysctls })
    const wanted = spec(
      [tunnel(1)],
      [service('web', [serve(['tcp', 443], new4), serve(['tcp', 443], ip('198.51.100.21'))])],
    )
    expect(await text(subject, wanted)).toContain('meta nfproto ipv4 iifname { "eth0", "fm1" } drop\n')
    await subject.become(wanted)
    expect(await text(subject, wanted)).toContain('meta nfproto ipv4 iifname { "eth0", "fm1" } drop\n')
    expect(await text(subject, wanted)).toContain('meta nfproto ipv6 drop\n')
  })
})

test('a redirect answers before anybody is sent to it, until nobody is; with another URL it is started anew', async () => {
  const web = (to: string | undefined) =>
    service(
      'web',
      [to ? { ...serve(['tcp', 80], new4), action: { kind: 'redirect' } } : serve(['tcp', 80], new4)],
      to ? { redirect: { port: 53820, to } } : {},
    )
  const subject = new Subject()
  await subject.become(spec([tunnel(1)], [web(undefined)]))
  const kinds = async (to: string | undefined, generation: number) =>
    (await subject.become(spec([tunnel(1)], [web(to)], generation))).map((step) => step.do)
  expect(await kinds('https://a.example', 2)).toEqual(['start-process', 'load-ruleset'])
  expect(await kinds('https://b.example', 3)).toEqual(['stop-process', 'start-process'])
  expect(await kinds('https://b.example', 4)).toEqual([])
  expect(await kinds(undefined, 5)).toEqual(['load-ruleset', 'stop-process'])
})

describe('the way from one driver to another', () => {
  const drivers = [
    tunnel(1),
    tunnel(1, { userspace: true }),
    tunnel(1, { driver: 'wireguard-l2' }),
    tunnel(1, { driver: 'wireguard-l2', userspace: true }),
    tunnel(1, { driver: 'openvpn' }),
    tunnel(1, { driver: 'direct' }),
  ]
  const title = ({ driver, userspace }: (typeof drivers)[number]): string => `${driver}${userspace ? ' (process)' : ''}`
  const ways = drivers.flatMap((from) => drivers.filter((to) => to !== from).map((to) => ({ from, to })))

  it.each(ways.map((way) => [`${title(way.from)} → ${title(way.to)}`, way] as const))(
    '%s: the port is free before it is bound again',
    async (_, { from, to }) => {
      const subject = new Subject()
      await subject.become(spec([from], []))
      const steps = await subject.become(spec([to], []))
      const binds = first(place(steps, is('configure-wireguard', 'start-process')))
      const frees = place(
        steps,
        (step) => step.do === 'stop-process' || (step.do === 'delete-link' && ['fm1', 'fmw1'].includes(step.name)),
      )
      expect(last(frees)).toBeLessThan(binds)
    },
  )
})
