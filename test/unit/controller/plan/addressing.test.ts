import fc from 'fast-check'
import type { HostAddress } from '../../../../controller/config/fleet.js'
import { addressPairs, resolveLocals } from '../../../../controller/plan/addressing.js'
import { familyOf, type Ip } from '../../../../proto/model/address.js'
import { parseHostIp } from '../../../../proto/parse.js'

const ip = (text: string): Ip => {
  const parsed = parseHostIp(text)
  if (!parsed.ok) throw new Error(parsed.found)
  return parsed.value
}
/** `PUBLIC` or `PUBLIC=LOCAL`. */
const address = (text: string): HostAddress => {
  const [outer, inner] = text.split('=') as [string, string?]
  return { public: ip(outer), local: inner === undefined ? undefined : ip(inner) }
}
const host = (...texts: string[]) => ({ addresses: texts.map(address) })
const shown = (pairs: ReturnType<typeof addressPairs>) =>
  pairs.map((it) => `${it.family} ${it.old.public} ${it.new.public}`)

describe('addressPairs', () => {
  const unmapped = { addresses: undefined }

  it('pairs in order by family, whatever the order among families', () => {
    const before = host('2001:db8:a::1', '203.0.113.1', '2001:db8:a::2', '203.0.113.2')
    const after = host('198.51.100.1', '198.51.100.2', '2001:db8:b::1', '2001:db8:b::2')
    expect(shown(addressPairs(unmapped, before, after))).toEqual([
      '4 203.0.113.1 198.51.100.1',
      '4 203.0.113.2 198.51.100.2',
      '6 2001:db8:a::1 2001:db8:b::1',
      '6 2001:db8:a::2 2001:db8:b::2',
    ])
  })

  it('leaves out what has no counterpart, on either side', () => {
    const before = host('203.0.113.1', '203.0.113.2', '2001:db8:a::1')
    expect(shown(addressPairs(unmapped, before, host('198.51.100.1')))).toEqual(['4 203.0.113.1 198.51.100.1'])
    expect(shown(addressPairs(unmapped, host('198.51.100.1'), before))).toEqual(['4 198.51.100.1 203.0.113.1'])
    expect(addressPairs(unmapped, host('203.0.113.1'), host('2001:db8:a::1'))).toEqual([])
  })

  it('keeps local addresses', () => {
    expect(addressPairs(unmapped, host('203.0.113.1=10.0.0.1'), host('198.51.100.1'))).toEqual([
      {
        old: { public: '203.0.113.1', local: '10.0.0.1' },
        new: { public: '198.51.100.1', local: undefined },
        family: 4,
      },
    ])
  })

  it('takes an explicit mapping in its own order, and nothing besides', () => {
    const addresses = [
      { old: ip('203.0.113.2'), new: ip('198.51.100.1') },
      { old: ip('203.0.113.9'), new: ip('198.51.100.2') },
    ]
    const before = host('203.0.113.1', '203.0.113.2', '2001:db8:a::1')
    const after = host('198.51.100.1', '198.51.100.2', '2001:db8:b::1')
    expect(shown(addressPairs({ addresses }, before, after))).toEqual(['4 203.0.113.2 198.51.100.1'])
  })

  it('never pairs across families, nor an address twice', () => {
    const hosts = fc.uniqueArray(fc.oneof(fc.ipV4(), fc.ipV6()), { maxLength: 8 }).map((texts) => ({
      addresses: texts.flatMap((text) => {
        const parsed = parseHostIp(text)
        return parsed.ok ? [{ public: parsed.value, local: undefined }] : []
      }),
    }))
    fc.assert(
      fc.property(hosts, hosts, (before, after) => {
        const pairs = addressPairs(unmapped, before, after)
        for (const pair of pairs) expect(familyOf(pair.old.public)).toBe(familyOf(pair.new.public))
        expect(new Set(pairs.map((pair) => pair.old)).size).toBe(pairs.length)
        expect(new Set(pairs.map((pair) => pair.new)).size).toBe(pairs.length)
        const count = (it: typeof before, family: number) =>
          it.addresses.filter((a) => familyOf(a.public) === family).length
        const expected = [4, 6].map((family) => Math.min(count(before, family), count(after, family)))
        expect(pairs.length).toBe(expected[0]! + expected[1]!)
      }),
    )
  })
})

describe('resolveLocals', () => {
  const interfaces = (...texts: string[]) =>
    texts.map((text) => {
      const [device, it] = text.split(' ') as [string, string]
      return { device, ip: ip(it), prefix: 24 }
    })
  const eth0 = { 4: 'eth0', 6: 'eth0' }

  it('takes an address on any interface for its own, also a private one', () => {
    const there = interfaces('eth0 203.0.113.1', 'eth1 10.0.0.1', 'eth0 2001:db8::1')
    expect(resolveLocals(host('203.0.113.1', '10.0.0.1', '2001:db8::1').addresses, there, eth0)).toEqual({
      ok: true,
      addresses: [
        { public: '203.0.113.1', local: '203.0.113.1' },
        { public: '10.0.0.1', local: '10.0.0.1' },
        { public: '2001:db8::1', local: '2001:db8::1' },
      ],
    })
  })

  it('takes what fleet.yaml says when it is there', () => {
    const there = interfaces('eth1 10.0.0.1', 'eth0 10.0.0.2')
    expect(resolveLocals(host('203.0.113.1=10.0.0.1').addresses, there, eth0)).toEqual({
      ok: true,
      addresses: [{ public: '203.0.113.1', local: '10.0.0.1' }],
    })
  })

  it.each(['10.0.0.1', '172.16.0.1', '172.31.255.1', '192.168.1.1', '100.64.0.1', '100.127.0.1'])(
    'finds %s',
    (local) => {
      const there = interfaces(`eth0 ${local}`, 'eth1 10.9.9.9', 'eth0 fd00::1')
      const found = resolveLocals(host('203.0.113.1').addresses, there, eth0)
      expect(found).toEqual({ ok: true, addresses: [{ public: '203.0.113.1', local }] })
    },
  )

  it.each(['172.32.0.1', '172.15.0.1', '100.128.0.1', '192.169.0.1', '11.0.0.1', '169.254.0.1'])(
    '%s is not private',
    (other) => {
      expect(resolveLocals(host('203.0.113.1').addresses, interfaces(`eth0 ${other}`), eth0).ok).toBe(false)
    },
  )

  it.each(['fd00::1', 'fc12:3456::1'])('finds %s by the device of the IPv6 default route', (local) => {
    const there = interfaces('eth0 fd11::1', `wan6 ${local}`, 'wan6 2001:db8::9')
    const found = resolveLocals(host('2001:db8::1').addresses, there, { 4: 'eth0', 6: 'wan6' })
    expect(found).toEqual({ ok: true, addresses: [{ public: '2001:db8::1', local }] })
  })

  it('passes over candidates that are taken, by fleet.yaml or by being an address of their own', () => {
    const there = interfaces('eth0 10.0.0.1', 'eth0 10.0.0.2', 'eth0 10.0.0.3')
    expect(resolveLocals(host('203.0.113.1', '203.0.113.2=10.0.0.1', '10.0.0.3').addresses, there, eth0)).toEqual({
      ok: true,
      addresses: [
        { public: '203.0.113.1', local: '10.0.0.2' },
        { public: '203.0.113.2', local: '10.0.0.1' },
        { public: '10.0.0.3', local: '10.0.0.3' },
      ],
    })
  })

  it('does not guess between candidates, nor between addresses that look for one', () => {
    const hint =
      'write { public: 203.0.113.1, local: 10.0.0.1 } with the address that the host has for it in fleet.yaml'
    const two = interfaces('eth0 10.0.0.1', 'eth0 10.0.0.2')
    expect(resolveLocals(host('203.0.113.1').addresses, two, eth0)).toEqual({
      ok: false,
      problems: [
        {
          public: '203.0.113.1',
          message:
            '203.0.113.1 is on no interface of the host, and which private address on eth0 stands for it is not clear: 10.0.0.1, 10.0.0.2',
          hint,
        },
      ],
    })
    const one = resolveLocals(host('203.0.113.1', '203.0.113.2').addresses, interfaces('eth0 10.0.0.1'), eth0)
    expect(one.ok ? [] : one.problems.map((it) => it.public)).toEqual(['203.0.113.1', '203.0.113.2'])
  })

  it('says which address is missing, for each', () => {
    const there = interfaces('eth0 198.51.100.9')
    const wanted = host('203.0.113.1=10.0.0.7', '203.0.113.2', '2001:db8::1').addresses
    expect(resolveLocals(wanted, there, { 4: 'eth0', 6: undefined })).toEqual({
      ok: false,
      problems: [
        {
          public: '203.0.113.1',
          message: '10.0.0.7, the local address of 203.0.113.1, is on no interface of the host',
          hint: 'correct local: in fleet.yaml, or leave it away to have it found out',
        },
        {
          public: '203.0.113.2',
          message:
            '203.0.113.2 is on no interface of the host, and no private IPv4 address on eth0 is free to stand for it',
          hint: 'write { public: 203.0.113.2, local: 10.0.0.5 } with the address that the host has for it in fleet.yaml',
        },
        {
          public: '2001:db8::1',
          message: '2001:db8::1 is on no interface of the host, and there is no IPv6 default route',
          hint: 'write { public: "2001:db8::1", local: "fd00::5" } with the address that the host has for it in fleet.yaml',
        },
      ],
    })
  })
})
