import { changedFacts, decidingFacts } from '../../../../controller/plan/deciding-facts.js'
import type { HostFacts } from '../../../../proto/model/facts.js'
import { factsOf } from './planned.js'

const facts = factsOf({ nftQueue: 'yes', xtablesQueue: 'yes' })
const changes = (change: Partial<HostFacts>, agent: 'none' | 'runs' = 'none'): string[] =>
  changedFacts(decidingFacts(facts, 'none'), decidingFacts({ ...facts, ...change }, agent))

test('what changes by itself decides nothing', () => {
  expect(
    changes({
      clockMs: 0,
      conntrack: { count: 99, max: 100 },
      disk: { usrLocalKib: 1, varLibKib: 1 },
      bootId: 'another',
      links: [...facts.links, { name: 'veth1234567', mtu: 1500, master: '' }],
      addresses: [...facts.addresses, { device: 'docker0', address: '172.17.0.1', prefix: 16, scope: 'global' }],
      sysctls: { ...facts.sysctls, 'net.ipv4.conf.veth1234567.forwarding': '1' },
    }),
  ).toEqual([])
})

test.each<[string, Partial<HostFacts>, string]>([
  [
    'a tool that was replaced',
    { tools: { ...facts.tools, nft: { path: '/usr/sbin/nft', version: '1.1.0' } } },
    'tool nft was "/usr/sbin/nft 1.0.6" and is "/usr/sbin/nft 1.1.0"',
  ],
  ['a tool that was removed', { tools: { ...facts.tools, wg: undefined as never } }, 'tool wg is gone'],
  [
    'another kernel',
    { kernel: { release: '6.19.0', major: 6, minor: 19 } },
    'kernel was "Linux 6.18.44 x86_64" and is "Linux 6.19.0 x86_64"',
  ],
  [
    'a sysctl of the uplink',
    { sysctls: { ...facts.sysctls, 'net.ipv4.conf.eth0.forwarding': '1' } },
    'sysctl net.ipv4.conf.eth0.forwarding was "0" and is "1"',
  ],
  [
    'no default route',
    { defaultRoutes: [] },
    'default routes was "via 203.0.113.1 on eth0, via fe80::1 on eth0" and is ""',
  ],
  [
    'WireGuard in the kernel',
    { wireguard: { available: 'yes', reason: '' } },
    'feature wireguard was "no" and is "yes"',
  ],
])('%s is named', (_title, change, words) => {
  const tools =
    change.tools && Object.fromEntries(Object.entries(change.tools).filter(([, tool]) => tool !== undefined))
  expect(changes(tools ? { tools } : change).join('\n')).toContain(words)
})

test('so is an agent that came', () => {
  expect(changes({}, 'runs')).toEqual(['agent was "none" and is "runs"'])
})
