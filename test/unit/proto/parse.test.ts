import { isIPv4, isIPv6 } from 'node:net'
import fc from 'fast-check'
import { familyOf } from '../../../proto/model/address.js'
import {
  listenerText,
  type Parsed,
  parseHostIp,
  parseIp,
  parseListener,
  parseName,
  quote,
} from '../../../proto/parse.js'
import { cases } from '../cases.js'

const readOf = <T>(parsed: Parsed<T>): T => {
  if (!parsed.ok) throw new Error(`refused ${parsed.found}, allowed ${parsed.allowed}`)
  return parsed.value
}
const refusal = (found: string, allowed: string) => ({ ok: false, found, allowed })

describe('parseIp', () => {
  it.each([
    ['203.0.113.10', '203.0.113.10'],
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:0db8::0001', '2001:db8::1'],
    // RFC 5952, 4.2.2: one group of zeros is not shortened.
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:db8::1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    // RFC 5952, 4.2.3: the longest run, the first of equals.
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['::', '::'],
    ['::1', '::1'],
    ['::ffff:203.0.113.10', '203.0.113.10'],
    ['::FFFF:cb00:710a', '203.0.113.10'],
    ['::1.2.3.4', '::102:304'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ])('reads %s as %s', (text, canonical) => {
    expect(parseIp(text)).toEqual({ ok: true, value: canonical })
  })

  it.each([
    '',
    ' 203.0.113.10',
    '203.0.113.10\n',
    '203.0.113',
    '0x7f.1',
    '0x7f.0.0.1',
    '010.1.1.1',
    '1.2.3.04',
    '1.2.3.256',
    '1.2.3.4.5',
    '16909060',
    '１.2.3.4',
    '1.2.3.4/24',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '00001::',
    '12345::',
    ':1',
    '[::1]',
    '::ffff:010.1.1.1',
    '::ffff:0x7f.1',
    '1.2.3.4::',
    '::1.2.3.4:5',
    'example.com',
    '1:2:3:4:5:6:1.2.3.4:7',
  ])('refuses %j', (text) => {
    expect(parseIp(text)).toEqual(refusal(JSON.stringify(text), 'an IPv4 or IPv6 address'))
  })

  it.each(['fe80::1%eth0', 'fe80::1%', '::%0', '1.2.3.4%lo'])('refuses the zone in %j', (text) => {
    expect(parseIp(text)).toEqual(refusal(JSON.stringify(text), 'an address without a zone (%…)'))
  })

  it('agrees with Node about what an address is', () => {
    const nearly = fc.string({ unit: fc.constantFrom(...'0123456789abcF:.x '), maxLength: 50 })
    const shaped = fc.oneof(fc.ipV4(), fc.ipV6(), fc.ipV4Extended(), nearly)
    fc.assert(
      fc.property(shaped, (text) => parseIp(text).ok === (isIPv4(text) || isIPv6(text))),
      { numRuns: cases(2000) },
    )
  })

  it('agrees with the URL standard about IPv6 text, and reads its own text as itself', () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const canonical = readOf(parseIp(text))
        expect(readOf(parseIp(canonical))).toBe(canonical)
        if (familyOf(canonical) === 6) expect(`[${canonical}]`).toBe(new URL(`http://[${text}]/`).hostname)
      }),
      { numRuns: cases(2000) },
    )
  })

  it('reads every IPv4 address as itself, mapped or not', () => {
    fc.assert(
      fc.property(fc.ipV4(), (text) => {
        expect(readOf(parseIp(text))).toBe(text)
        expect(readOf(parseIp(`::ffff:${text}`))).toBe(text)
      }),
    )
  })
})

describe('parseHostIp', () => {
  it.each(['203.0.113.10', '10.0.0.5', '100.64.0.1', '169.254.1.1', '240.0.0.1', '2001:db8::1', 'fd00::1'])(
    'takes %s',
    (text) => {
      expect(parseHostIp(text)).toEqual({ ok: true, value: text })
    },
  )

  it.each([
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'unspecified'],
    ['127.0.0.1', 'loopback'],
    ['224.0.0.1', 'multicast'],
    ['255.255.255.255', 'broadcast'],
    ['::', 'unspecified'],
    ['::1', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['ff02::1', 'multicast'],
    ['fe80::1', 'link-local'],
  ])('refuses %s, which is %s', (text, kind) => {
    expect(parseHostIp(text)).toEqual(
      refusal(JSON.stringify(text), `an address of one host that others can reach (this one is ${kind})`),
    )
  })

  it('refuses what is no address as parseIp does', () => {
    expect(parseHostIp('fe80::1%eth0')).toEqual(parseIp('fe80::1%eth0'))
  })
})

describe('parseName', () => {
  it.each(['a', '0', 'web-1', 'constructor', 'x'.repeat(32)])('takes %s', (text) => {
    expect(parseName(text)).toEqual({ ok: true, value: text })
  })

  it.each(['', '-a', 'Web', 'a_b', 'a b', 'a\n', 'ä', 'a.b', '../a', '__proto__', 'x'.repeat(33)])(
    'refuses %j',
    (text) => {
      const allowed = 'a name of 1 to 32 characters of a-z, 0-9 and -, beginning with a letter or digit'
      expect(parseName(text)).toEqual(refusal(JSON.stringify(text), allowed))
    },
  )
})

describe('parseListener', () => {
  const port = fc.integer({ min: 1, max: 65535 })
  const protocol = fc.constantFrom('tcp' as const, 'udp' as const)

  it('reads what listenerText writes', () => {
    fc.assert(
      fc.property(protocol, port, port, (kind, a, b) => {
        const listener = { protocol: kind, ports: { from: Math.min(a, b), to: Math.max(a, b) } }
        expect(readOf(parseListener(listenerText(listener)))).toEqual(listener)
      }),
    )
  })

  it('takes a range of one port for that port', () => {
    expect(parseListener('udp/53-53')).toEqual({ ok: true, value: { protocol: 'udp', ports: { from: 53, to: 53 } } })
    expect(listenerText(readOf(parseListener('udp/53-53')))).toBe('udp/53')
  })

  it.each([
    '',
    'tcp',
    'tcp/',
    'tcp/0',
    'tcp/65536',
    'tcp/99999',
    'tcp/080',
    'tcp/+80',
    'tcp/8e1',
    'TCP/80',
    'sctp/80',
    '80',
    '80/tcp',
    'tcp/80 ',
    'tcp/80\n',
    'tcp/80,443',
    'tcp/*',
  ])('refuses %j', (text) => {
    expect(parseListener(text)).toEqual(refusal(JSON.stringify(text), 'tcp/PORT or udp/PORT with PORT 1 to 65535'))
  })

  it.each(['tcp/90-80', 'tcp/0-80', 'tcp/1-65536', 'tcp/-1', 'tcp/80-', 'tcp/1-2-3', 'tcp/01-2', 'tcp/1 - 2'])(
    'refuses the range %j',
    (text) => {
      const allowed = 'tcp/FROM-TO or udp/FROM-TO with ports 1 to 65535, FROM not above TO'
      expect(parseListener(text)).toEqual(refusal(JSON.stringify(text), allowed))
    },
  )
})

describe('quote', () => {
  it('escapes what a terminal would obey', () => {
    expect(quote('a"\u001b[2J\u007f\u009b\n')).toBe('"a\\"\\u001b[2J\\u007f\\u009b\\n"')
  })

  it('cuts what is longer than 80 characters', () => {
    expect(quote('x'.repeat(80))).toBe(`"${'x'.repeat(80)}"`)
    expect(quote('x'.repeat(81))).toBe(`"${'x'.repeat(80)}…"`)
  })
})
