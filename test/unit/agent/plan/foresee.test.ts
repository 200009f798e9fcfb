/** What is foreseen is what happens: the plan of a change that comes after another one. */
import fc from 'fast-check'
import { converge, observeAll } from '../../../../agent/apply.js'
import { describeStep } from '../../../../agent/kernel/describe-step.js'
import type { Found } from '../../../../agent/plan/difference.js'
import { observedFromFacts } from '../../../../agent/plan/facts-observed.js'
import { foresee } from '../../../../agent/plan/foresee.js'
import type { HostFacts } from '../../../../proto/model/facts.js'
import { FakeKernel } from '../../../fakes/fake-kernel.js'
import { anySpec, forward, ip, new4, new6, old4, service, spec, tunnel } from './specs.js'

const links = ['eth0', 'eth1', 'eth2', 'eth3', 'docker0'].map((name) => ({
  ...{ name, kind: '', mtu: 1500, up: true, vxlan: null },
}))
const machine = (sysctls: Record<string, string> = {}): FakeKernel =>
  new FakeKernel({
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
    sysctls,
  })
const anySysctls = fc.dictionary(
  fc.constantFrom(
    'net.ipv6.conf.all.forwarding',
    'net.ipv6.conf.eth0.forwarding',
    'net.ipv4.conf.eth0.forwarding',
    'net.ipv4.conf.all.send_redirects',
    'net.ipv6.conf.eth0.accept_ra',
  ),
  fc.constantFrom('0', '1'),
)

test('each change is planned as it will be made when those before it stand', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anySpec, { minLength: 1, maxLength: 3 }), anySysctls, async (specs, sysctls) => {
      const kernel = machine(sysctls)
      const foreseen = foresee(await observeAll(kernel), {}, specs)
      let found: Found = {}
      for (const [i, wanted] of specs.entries()) {
        const { steps: made } = await converge(kernel, wanted, found, async (kept) => {
          found = kept
        })
        // A kernel lists what is there in an order of its own, and takes it down in that one.
        expect(foreseen[i]!.steps.map(describeStep).sort()).toEqual(made.map(describeStep).sort())
      }
    }),
    { numRuns: 25 },
  )
}, 60_000)

test('from facts the same is foreseen as from what an agent observes', async () => {
  const kernel = machine()
  const observed = await observeAll(kernel)
  const facts = {
    links: observed.links.map(({ name, mtu }) => ({ name, mtu })),
    addresses: observed.addresses.map(({ device, ip: address, prefix }) => ({
      ...{ device, address, prefix, scope: 'global' },
    })),
    defaultRoutes: observed.uplinks.map((uplink) => ({ ...uplink, gateway: '' })),
    sysctls: observed.sysctls,
    firewalls: { nft: [], iptables: [] },
  } as unknown as HostFacts
  const wanted = spec(
    [tunnel(1, { driver: 'openvpn' })],
    [service('web', [forward(['tcp', 443], { local: new4, peer: old4 })])],
  )
  const [first, second] = foresee(observedFromFacts(facts), {}, [{ ...wanted, services: [] }, wanted])
  expect([first, second]).toEqual(foresee(observed, {}, [{ ...wanted, services: [] }, wanted]))
  expect(first!.files.map(({ path }) => path)).toEqual(['/run/fleetmove/openvpn-fm1.conf'])
  expect(second!.steps.map(({ do: what }) => what)).toEqual(['load-ruleset'])
  expect(second!.ruleset).toContain('dnat ip to 203.0.113.10')
})
