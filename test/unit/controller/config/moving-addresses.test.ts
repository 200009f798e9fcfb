import { parseFleet } from '../../../../controller/config/load-fleet.js'
import type { Name } from '../../../../proto/model/names.js'

const base = {
  fleet: 'f',
  tunnel: {},
  hosts: {
    old: { ssh: 'root@203.0.113.10', addresses: ['203.0.113.10', '203.0.113.11', '203.0.113.12'] as unknown[] },
    new: { ssh: 'b', addresses: ['203.0.113.20', '203.0.113.21'] as unknown[] },
    third: { ssh: 'c', addresses: ['203.0.113.30'] as unknown[] },
  },
  services: {
    web: {
      from: 'old',
      to: 'new',
      listen: ['tcp/80'] as unknown[],
      address: 'move',
      addresses: { '203.0.113.11': '203.0.113.20' },
    },
  } as Record<string, object>,
}
const refusal = (change: (fleet: typeof base) => void): string => {
  const fleet = structuredClone(base)
  change(fleet)
  try {
    parseFleet(JSON.stringify(fleet), 'fleet.yaml')
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('it was taken')
}
const web = (fleet: typeof base): Record<string, unknown> => fleet.services.web as Record<string, unknown>

test('an address that nothing else needs may move', () => {
  const service = parseFleet(JSON.stringify(base), 'fleet.yaml').services.get('web' as Name)
  expect(service?.movesAddress).toBe(true)
})

test.each<[string, (fleet: typeof base) => void]>([
  ['is where SSH goes', (fleet) => Object.assign(fleet.hosts.old, { ssh: 'root@203.0.113.11:22' })],
  ['is this end of the tunnel to new', (fleet) => fleet.hosts.old.addresses.shift()],
  [
    'the provider translates',
    (fleet) => fleet.hosts.old.addresses.splice(1, 1, { public: '203.0.113.11', local: '10.0.0.5' }),
  ],
  [
    'has no IPv6 address that stays',
    (fleet) => {
      fleet.hosts.old.addresses.push('2001:db8:a::11')
      fleet.hosts.new.addresses.push('2001:db8:a::20')
      web(fleet).addresses = { '2001:db8:a::11': '2001:db8:a::20' }
    },
  ],
  [
    'a listener that is at port 8080 on the new host',
    (fleet) => Object.assign(web(fleet), { listen: [{ port: 'tcp/80', new: 8080 }] }),
  ],
  [
    'service mail is reached by 203.0.113.11, too, and stays behind',
    (fleet) => Object.assign(fleet.services, { mail: { ...web(fleet), listen: ['tcp/25'], address: 'forward' } }),
  ],
  [
    'service mail moves 203.0.113.11 elsewhere',
    (fleet) =>
      Object.assign(fleet.services, {
        mail: { ...web(fleet), listen: ['tcp/25'], to: 'third', addresses: { '203.0.113.11': '203.0.113.30' } },
      }),
  ],
  [
    'service mail moves to 203.0.113.11',
    (fleet) =>
      Object.assign(fleet.services, {
        mail: { from: 'third', to: 'old', listen: ['tcp/25'], addresses: { '203.0.113.30': '203.0.113.11' } },
      }),
  ],
  [
    'with tunnel.driver: direct',
    (fleet) => {
      fleet.tunnel = { driver: 'direct' }
      Object.assign(fleet.hosts.old, { direct: '10.9.0.1' })
      Object.assign(fleet.hosts.new, { direct: '10.9.0.2' })
    },
  ],
])('refused: %s', (words, change) => {
  const said = refusal(change)
  expect(said).toContain(words)
  expect(said).toMatch(/services\.\w+\.address: found "move"/)
})
