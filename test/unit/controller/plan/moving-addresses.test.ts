import { segmentProblems } from '../../../../controller/check-segments.js'
import { parseFleet } from '../../../../controller/config/load-fleet.js'
import type { ServiceState } from '../../../../controller/plan/host-specs.js'
import { companions, movedAddresses, movingAddresses } from '../../../../controller/plan/moving-addresses.js'
import type { HostFacts } from '../../../../proto/model/facts.js'
import type { HostSpec } from '../../../../proto/model/host-spec.js'
import type { Name } from '../../../../proto/model/names.js'

const name = (text: string): Name => text as Name
const service = (listen: string, ...addresses: string[]) => ({
  ...{ from: 'old', to: 'new', listen: [listen], address: 'move' },
  addresses: Object.fromEntries(addresses.map((last) => [`203.0.113.1${last}`, `203.0.113.2${last}`])),
})
const fleet = parseFleet(
  JSON.stringify({
    fleet: 'f',
    hosts: {
      old: { ssh: 'a', addresses: ['203.0.113.10', '203.0.113.11', '203.0.113.12', '203.0.113.13'] },
      new: { ssh: 'b', addresses: ['203.0.113.20', '203.0.113.21', '203.0.113.22', '203.0.113.23'] },
    },
    services: { web: service('tcp/80', '1'), mail: service('tcp/25', '1', '2'), dns: service('tcp/53', '3') },
  }),
  'fleet.yaml',
)
const states = (given: Record<string, Partial<ServiceState>>) =>
  new Map(
    ['web', 'mail', 'dns'].map((each) => [
      name(each),
      { stage: 'moved', active: name('new'), ...given[each] } as ServiceState,
    ]),
  )
const on = (host: string, given: Record<string, Partial<ServiceState>>, held?: HostSpec) =>
  movedAddresses({ moving: movingAddresses(fleet), states: states(given) }, name(host), held).map(
    ({ address, as }) => `${address.slice(-2)} ${as}`,
  )

test('services that share an address, directly or by way of others, belong together', () => {
  const names = (service: string): string[] =>
    companions(fleet, fleet.services.get(name(service))!).map((each) => each.name)
  expect(names('web')).toEqual(['web', 'mail'])
  expect(names('dns')).toEqual(['dns'])
  expect(movingAddresses(fleet).map(({ address, own, stays }) => [address, own, stays])).toEqual([
    ['203.0.113.11', '203.0.113.21', '203.0.113.10'],
    ['203.0.113.12', '203.0.113.22', '203.0.113.10'],
    ['203.0.113.13', '203.0.113.23', '203.0.113.10'],
  ])
})

test('one host has an address, the other one keeps silent', () => {
  const moved = { web: { address: 'moved' }, mail: { address: 'moved' } } as const
  expect(on('new', moved)).toEqual(['11 taken', '12 taken'])
  expect(on('old', moved)).toEqual(['11 silent', '12 silent'])
  const returning = { web: { address: 'returning' }, mail: { address: 'returning' } } as const
  expect(on('new', returning)).toEqual(['11 silent', '12 silent'])
  expect(on('old', returning)).toEqual(['11 returned', '12 returned'])
  expect(on('old', {})).toEqual([])
})

test('released for good it settles, and stays so', () => {
  const released = {
    web: { stage: 'planned', address: 'moved' },
    mail: { stage: 'planned', address: 'moved' },
  } as const
  expect(on('new', released)).toEqual(['11 settled', '12 settled'])
  const held = { addresses: [{ address: '203.0.113.11', as: 'settled' }] } as unknown as HostSpec
  expect(on('new', { web: { stage: 'planned' }, mail: { stage: 'planned' } }, held)).toEqual(['11 settled'])
})

describe('facts of the hosts', () => {
  const facts = (prefix: number, ...addresses: string[]): HostFacts =>
    ({
      tools: { perl: { path: '/usr/bin/perl', version: '' } },
      addresses: addresses.map((address) => ({ device: 'eth0', address, prefix, scope: 'global' })),
      defaultRoutes: [{ family: 4, device: 'eth0', gateway: '203.0.113.1' }],
      installed: { directory: false },
    }) as unknown as HostFacts
  const old = facts(24, '203.0.113.10', '203.0.113.11', '203.0.113.12', '203.0.113.13')
  const fresh = facts(24, '203.0.113.20', '203.0.113.21', '203.0.113.22', '203.0.113.23')
  const problems = (before: HostFacts, after: HostFacts): string =>
    segmentProblems(fleet, (host) => (host === 'old' ? before : after))
      .map(({ host, message }) => `${host}: ${message}`)
      .join('\n')

  test('hosts on one segment may', () => expect(problems(old, fresh)).toBe(''))
  test.each<[string, HostFacts, HostFacts]>([
    [
      'not in one network',
      facts(28, ...old.addresses.map(({ address }) => address)),
      facts(28, ...fresh.addresses.map(({ address }) => address)),
    ],
    ['new: neither perl nor python3', old, { ...fresh, tools: {} }],
    [
      'must be on the devices of the default routes',
      old,
      { ...fresh, defaultRoutes: [{ family: 4, device: 'eth1', gateway: '' }] },
    ],
    ['is the first address of eth0', facts(24, '203.0.113.11', '203.0.113.10', '203.0.113.12', '203.0.113.13'), fresh],
    [
      'new: 203.0.113.11 is on this host already',
      old,
      facts(24, '203.0.113.11', ...fresh.addresses.map(({ address }) => address)),
    ],
    ['old: 203.0.113.11 is to move, and is on no device', facts(24, '203.0.113.10'), fresh],
  ])('%s', (words, before, after) => expect(problems(before, after)).toContain(words))
})
