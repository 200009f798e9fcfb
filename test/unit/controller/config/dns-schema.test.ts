import { parseFleet } from '../../../../controller/config/load-fleet.js'
import { FleetmoveError } from '../../../../proto/model/error.js'

const file = (dns: string, names = '[www.example.org]') =>
  [
    'fleet: f',
    'hosts:',
    '  old: { ssh: a, addresses: [203.0.113.1] }',
    '  new: { ssh: b, addresses: [198.51.100.1] }',
    'services:',
    `  web: { from: old, to: new, listen: [tcp/80], names: ${names} }`,
    `dns: ${dns}`,
    '',
  ].join('\n')
const problemsOf = (text: string): string => {
  try {
    parseFleet(text, 'fleet.yaml')
  } catch (error) {
    if (error instanceof FleetmoveError) return error.message
    throw error
  }
  return 'none'
}

it('takes names in canonical text', () => {
  const [service] = parseFleet(file('{}', '[WWW.Example.org., _dmarc.x-1.example]'), 'f').services.values()
  expect(service!.names).toEqual(['www.example.org', '_dmarc.x-1.example'])
})

it('takes servers with and without ports, a key and a time to live', () => {
  const text = file(
    '{ resolvers: [9.9.9.9, "2620:fe::fe", "[::1]:5353", "127.0.0.1:54"], ttl: 2m, update: { server: 203.0.113.53, key: ./tsig.key } }',
  )
  expect(parseFleet(text, 'f').dns).toEqual({
    resolvers: [
      { ip: '9.9.9.9', port: 53 },
      { ip: '2620:fe::fe', port: 53 },
      { ip: '::1', port: 5353 },
      { ip: '127.0.0.1', port: 54 },
    ],
    ttlSeconds: 120,
    means: { kind: 'update', server: { ip: '203.0.113.53', port: 53 }, key: './tsig.key' },
  })
  expect(parseFleet(file('{ hook: ./change-record }'), 'f').dns.means).toEqual({
    kind: 'hook',
    command: './change-record',
  })
  expect(parseFleet(file('{}'), 'f').dns).toEqual({ resolvers: undefined, ttlSeconds: 60, means: undefined })
})

it.each([
  ['a name of one label', file('{}', '[localhost]'), /web\.names\[0\]: found "localhost", allowed a domain name/],
  ['a URL for a name', file('{}', '["https://a.b"]'), /names\[0\]: found "https:\/\/a\.b", allowed a domain name/],
  ['a name server by name', file('{ resolvers: [dns.example] }'), /resolvers\[0\]: found "dns\.example", allowed ADDR/],
  [
    'a port beyond all',
    file('{ resolvers: ["1.1.1.1:70000"] }'),
    /resolvers\[0\]: found "1\.1\.1\.1:70000", allowed ADDR/,
  ],
  [
    'both ways to change',
    file('{ hook: x, update: { key: k } }'),
    /dns\.hook: found hook besides update, allowed one of/,
  ],
  ['an update without a key', file('{ update: {} }'), /dns\.update\.key: found nothing, allowed the path of the TSIG/],
])('refuses %s', (_, text, message) => {
  expect(problemsOf(text)).toMatch(message)
})
