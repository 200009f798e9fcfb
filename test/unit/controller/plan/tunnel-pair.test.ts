import fc from 'fast-check'
import type { Fleet } from '../../../../controller/config/fleet.js'
import {
  freeIndex,
  makePair,
  neededPairs,
  outerAddresses,
  type PairHost,
  probePort,
  refreshed,
  tunnelAddresses,
  tunnelPort,
} from '../../../../controller/plan/tunnel-pair.js'
import { familyOf, type Ip } from '../../../../proto/model/address.js'
import type { Name } from '../../../../proto/model/names.js'
import { parseHostIp } from '../../../../proto/parse.js'
import { cases } from '../../cases.js'

const ip = (text: string): Ip => text as Ip
const name = (text: string): Name => text as Name
const anyName = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,31}$/)
const anyIndex = fc.integer({ min: 1, max: 63 })

describe('tunnelAddresses', () => {
  it('are canonical text of addresses that a host can have, whatever the fleet is called', () => {
    fc.assert(
      fc.property(anyName, anyIndex, (fleet, index) => {
        const { ipv4, ipv6 } = tunnelAddresses(fleet, index, [])
        for (const text of [...ipv4, ...ipv6]) expect(parseHostIp(text)).toEqual({ ok: true, value: text })
        // The two usable ones of a /30, and unique local (RFC 4193).
        expect(ipv4.map((text) => Number(text.split('.')[3]) % 4)).toEqual([1, 2])
        expect(ipv6.every((text) => text.startsWith('fd'))).toBe(true)
      }),
      { numRuns: cases(5000) },
    )
  })

  it('have no group of zeros beside the run of zeros, for any short name', () => {
    const letters = 'abcdefghijklmnopqrstuvwxyz0123456789'
    for (const a of letters) {
      for (const b of ['', ...letters]) {
        for (const c of b === '' ? [''] : ['', ...letters]) {
          for (const text of tunnelAddresses(a + b + c, 1, []).ipv6) {
            const parsed = parseHostIp(text)
            if (!parsed.ok || parsed.value !== text) throw new Error(`${a + b + c}: ${text}`)
          }
        }
      }
    }
  })

  it('move on where a host has such a network already, and never to the clouds’ metadata services', () => {
    fc.assert(
      fc.property(
        anyName,
        anyIndex,
        fc.uniqueArray(fc.integer({ min: 1, max: 253 }), { maxLength: 200 }),
        (fleet, index, taken) => {
          const present = taken.map((third) => `169.254.${third}.77`)
          const third = Number(tunnelAddresses(fleet, index, present).ipv4[0].split('.')[2])
          expect([...taken, 169]).not.toContain(third)
        },
      ),
    )
  })

  it('differ between the tunnels of a fleet', () => {
    const all = Array.from({ length: 63 }, (_, i) => tunnelAddresses('spring', i + 1, [])).flatMap((net) => [
      ...net.ipv4,
      ...net.ipv6,
    ])
    expect(new Set(all).size).toBe(all.length)
  })
})

describe('indices', () => {
  it('never clash on a host, however many pairs there are', () => {
    const host = fc.integer({ min: 0, max: 12 }).map((i) => name(`h${i}`))
    fc.assert(
      fc.property(fc.array(fc.tuple(host, host), { maxLength: 60 }), (edges) => {
        const pairs: { a: Name; b: Name; index: number }[] = []
        for (const [a, b] of edges) {
          if (a === b || pairs.some((pair) => [pair.a, pair.b].includes(a) && [pair.a, pair.b].includes(b))) continue
          pairs.push({ a, b, index: freeIndex(a, b, pairs) })
        }
        for (let i = 0; i <= 12; i++) {
          const own = pairs.filter(({ a, b }) => a === `h${i}` || b === `h${i}`).map(({ index }) => index)
          expect(new Set(own).size).toBe(own.length)
        }
      }),
    )
  })

  it('end at 63, with a word to the operator', () => {
    const pairs = Array.from({ length: 63 }, (_, i) => ({ a: name('hub'), b: name(`h${i}`), index: i + 1 }))
    expect(() => freeIndex(name('hub'), name('new'), pairs)).toThrow('hub and new have no tunnel number in common')
    expect(freeIndex(name('hub'), name('new'), pairs.slice(1))).toBe(1)
  })

  it('give ports that exist and never meet', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 65535 }), (base) => {
        const indices = Array.from({ length: 63 }, (_, i) => i + 1)
        const ports = indices.flatMap((i) => [tunnelPort(base, i), probePort(base, i), probePort(base, i) + 1])
        expect(ports.filter((port) => port < 1 || port > 65535)).toEqual([])
        expect(new Set(ports).size).toBe(ports.length)
      }),
    )
  })
})

const pairHost = (text: string, addresses: string[], change: Partial<PairHost> = {}): PairHost => ({
  name: name(text),
  publicAddresses: addresses.map(ip),
  allAddresses: addresses.map(ip),
  interfaceAddresses: addresses,
  userspace: false,
  identity: `key of ${text}`,
  direct: undefined,
  ...change,
})

it('the outer addresses are IPv4 where both hosts have it, else IPv6, else there are none', () => {
  const both = pairHost('a', ['2001:db8::1', '192.0.2.1'])
  expect(outerAddresses(both, pairHost('b', ['2001:db8::2', '192.0.2.2']))).toEqual({
    family: 4,
    a: '192.0.2.1',
    b: '192.0.2.2',
  })
  expect(outerAddresses(both, pairHost('b', ['2001:db8::2']))).toEqual({
    family: 6,
    a: '2001:db8::1',
    b: '2001:db8::2',
  })
  expect(outerAddresses(pairHost('a', ['192.0.2.1']), pairHost('b', ['2001:db8::2']))).toBeUndefined()
})

it('the two ends mirror each other', () => {
  const fleet = { name: name('spring'), tunnel: { port: 51820, driver: 'auto', unreachable: 'hold' } } as Fleet
  const hosts = [
    pairHost('a', ['192.0.2.1', '10.0.0.1', '192.0.2.1']),
    pairHost('b', ['192.0.2.2'], { userspace: true }),
  ] as const
  const pair = makePair({
    fleet,
    index: 3,
    driver: 'wireguard',
    mtu: 1420,
    hosts,
    outer: { a: ip('192.0.2.1'), b: ip('192.0.2.2') },
  })
  const [a, b] = [pair.ends[name('a')]!, pair.ends[name('b')]!]
  expect([a.peer, a.remote, a.role, a.userspace, a.peerIdentity]).toEqual([
    'b',
    '192.0.2.2',
    'server',
    false,
    'key of b',
  ])
  expect([b.peer, b.remote, b.role, b.userspace, b.peerIdentity]).toEqual([
    'a',
    '192.0.2.1',
    'client',
    true,
    'key of a',
  ])
  expect([a.local4, a.peer4, a.local6, a.peer6]).toEqual([b.peer4, b.local4, b.peer6, b.local6])
  expect([a.port, a.probe, a.index, a.mtu]).toEqual([b.port, b.probe, b.index, b.mtu])
  expect(b.peerAddresses).toEqual(['10.0.0.1', '192.0.2.1'])
  expect(familyOf(a.local6)).toBe(6)
})

it('a pair that stands follows what fleet.yaml says of addresses and of new clients while it is down, and no more', () => {
  const fleet = (unreachable: string) => ({ name: name('spring'), tunnel: { port: 51820, unreachable } }) as Fleet
  const hosts = [pairHost('a', ['192.0.2.1']), pairHost('b', ['192.0.2.2'])] as const
  const outer = { a: ip('192.0.2.1'), b: ip('192.0.2.2') }
  const pair = makePair({ fleet: fleet('hold'), index: 1, driver: 'wireguard', mtu: 1420, hosts, outer })
  const at = (...addresses: string[]) => addresses.map((text) => ({ public: ip(text), local: ip(text) }))
  const now = (unreachable: string, ...ofB: string[]) =>
    refreshed(pair, fleet(unreachable), (host) => (host === 'a' ? at('192.0.2.1') : at(...ofB)))
  expect(now('hold', '192.0.2.2')).toEqual(pair)
  expect(now('hold', '2001:db8::2', '192.0.2.9').ends[name('a')]).toEqual({
    ...pair.ends[name('a')]!,
    remote: '192.0.2.9',
    peerAddresses: ['192.0.2.9', '2001:db8::2'],
  })
  // A further address before it is no reason to leave one that works.
  expect(now('hold', '192.0.2.9', '192.0.2.2').ends[name('a')]!.remote).toBe('192.0.2.2')
  const refusing = now('reset', '192.0.2.2')
  expect(refusing.ends[name('b')]).toEqual({ ...pair.ends[name('b')]!, unreachable: 'reset' })
})

it('pairs are needed where services move, each once', () => {
  const services = [
    ['z', 'a'],
    ['a', 'z'],
    ['a', 'b'],
  ].map(([from, to], i) => [name(`s${i}`), { from, to }] as const)
  expect(neededPairs({ services: new Map(services) } as unknown as Fleet)).toEqual([
    { a: 'a', b: 'b' },
    { a: 'a', b: 'z' },
  ])
})
