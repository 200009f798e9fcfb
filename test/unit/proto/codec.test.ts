import fc from 'fast-check'
import { decodeHostSpec, encodeHostSpec } from '../../../proto/codec.js'
import { HostSpec as WireHostSpec } from '../../../proto/gen/fleetmove.js'
import { FleetmoveError } from '../../../proto/model/error.js'
import {
  anySpec,
  certificate,
  forward,
  ip,
  new4,
  new6,
  old4,
  old6,
  serve,
  service,
  spec,
  tunnel,
} from '../agent/plan/specs.js'
import { cases } from '../cases.js'

type Wire = ReturnType<typeof encodeHostSpec>
type Json = Record<string, unknown>

const valid = (): Wire =>
  encodeHostSpec(
    spec(
      [tunnel(1)],
      [
        service('web', [
          forward(['tcp', 443], { local: new4, peer: old4 }),
          forward(['tcp', 8080], { local: new4, peer: old4 }, { port: 80 }),
          serve(['udp', [5000, 5010]], new6),
        ]),
      ],
    ),
  )

function refusal(message: unknown): FleetmoveError {
  try {
    decodeHostSpec(message as Wire)
  } catch (error) {
    expect(error).toBeInstanceOf(FleetmoveError)
    expect((error as FleetmoveError).code).toBe('invalid')
    expect((error as FleetmoveError).hint).toContain('fleetmove up')
    return error as FleetmoveError
  }
  throw new Error('was taken')
}

describe('a host spec over the wire', () => {
  it('comes back as it was, through the bytes', () => {
    fc.assert(
      fc.property(anySpec, (sent) => {
        const bytes = WireHostSpec.encode(encodeHostSpec(sent)).finish()
        expect(decodeHostSpec(WireHostSpec.decode(bytes))).toEqual(sent)
      }),
    )
  })

  it('keeps generations above 32 bits', () => {
    const sent = spec([], [], 2 ** 52 + 1)
    expect(decodeHostSpec(WireHostSpec.decode(WireHostSpec.encode(encodeHostSpec(sent)).finish())).generation).toBe(
      2 ** 52 + 1,
    )
  })

  it('writes equal addresses alike, so that the same generation compares equal', () => {
    const wire = valid()
    wire.tunnels[0]!.remote = '::ffff:203.0.113.10'
    wire.tunnels[0]!.peer6 = 'FD12:3456:789A:0001:0::1'
    const { remote, peer6 } = decodeHostSpec(wire).tunnels[0]!
    expect([remote, peer6]).toEqual([old4, tunnel(1).peer6])
  })

  it('takes link-local ends of a link that is there already', () => {
    const wire = encodeHostSpec(
      spec([tunnel(1, { driver: 'direct', local6: ip('fe80::1'), peer6: ip('fe80::2') })], []),
    )
    expect(decodeHostSpec(wire).tunnels[0]!.local6).toBe('fe80::1')
  })
})

/** [what is sent, how a valid message is spoilt, what the answer must name] */
const hostile: [string, (wire: Wire) => unknown, RegExp][] = [
  ['no message at all', () => undefined, /^spec:/],
  ['null', () => null, /^spec:/],
  ['a list', () => [], /^spec:/],
  ['an empty message', () => WireHostSpec.decode(new Uint8Array()), /^spec\.fleet:.*allowed: a name/],
  ...['a"b', 'a\nb', 'a;b', '$(reboot)', '`id`', '../x', 'A', '-a', '', 'x'.repeat(33), 'a b', 'ａ', 'a\0'].flatMap(
    (text): [string, (wire: Wire) => unknown, RegExp][] => [
      [`fleet ${JSON.stringify(text)}`, (wire) => ({ ...wire, fleet: text }), /^spec\.fleet: found "/],
      [`host ${JSON.stringify(text)}`, (wire) => ({ ...wire, host: text }), /^spec\.host: found "/],
      [
        `service ${JSON.stringify(text)}`,
        (wire) => {
          wire.services[0]!.name = text
        },
        /^spec\.services\.0\.name: found "/,
      ],
      [
        `active ${JSON.stringify(text)}`,
        (wire) => {
          wire.services[0]!.active = text
        },
        /services\.0\.active/,
      ],
      [
        `peer ${JSON.stringify(text)}`,
        (wire) => {
          wire.tunnels[0]!.peer = text
        },
        /tunnels\.0\.peer/,
      ],
    ],
  ),
  ...[0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '1', undefined].map(
    (generation): [string, (wire: Wire) => unknown, RegExp] => [
      `generation ${JSON.stringify(generation) ?? 'undefined'}`,
      (wire) => ({ ...wire, generation }),
      /^spec\.generation:/,
    ],
  ),
  ...[0, -1, 65536, 1.5, Number.NaN, '443', undefined].flatMap((port): [string, (wire: Wire) => unknown, RegExp][] => [
    [
      `listener from ${port}`,
      (wire) => {
        ;(wire.services[0]!.routes[0]!.ports as unknown as Json).from = port
      },
      /routes\.0\.ports\.from/,
    ],
    [
      `tunnel port ${port}`,
      (wire) => {
        ;(wire.tunnels[0] as unknown as Json).port = port
      },
      /tunnels\.0\.port/,
    ],
  ]),
  ...['local4', 'peer4', 'local6', 'peer6', 'remote'].flatMap((key): [string, (wire: Wire) => unknown, RegExp][] =>
    ['', '1.2.3', '010.1.1.1', '1.2.3.4; drop', '1.2.3.4/0', 'fe80::1%eth0', '0.0.0.0', '::', '1.2.3.4\n'].map(
      (text) => [
        `${key} ${JSON.stringify(text)}`,
        (wire) => {
          ;(wire.tunnels[0] as unknown as Json)[key] = text
        },
        new RegExp(`tunnels\\.0\\.${key}`),
      ],
    ),
  ),
  [
    'a port above the range',
    (wire) => {
      wire.services[0]!.routes[2]!.ports!.to = 65536
    },
    /routes\.2\.ports\.to/,
  ],
  [
    'a range backwards',
    (wire) => {
      wire.services[0]!.routes[2]!.ports!.from = 6000
    },
    /from must not be above to/,
  ],
  [
    'a route without ports',
    (wire) => {
      wire.services[0]!.routes[0]!.ports = undefined
    },
    /routes\.0\.ports/,
  ],
  [
    'a route without action',
    (wire) => {
      wire.services[0]!.routes[0]!.forward = undefined
    },
    /needs forward, serve, or both; or pause or redirect alone/,
  ],
  [
    'a route with both actions and no canary to choose',
    (wire) => {
      wire.services[0]!.routes[0]!.serve = { port: 0 }
    },
    /a split route without a canary/,
  ],
  [
    'a pause that forwards',
    (wire) => {
      wire.services[0]!.routes[0]!.pause = true
    },
    /or pause or redirect alone/,
  ],
  [
    'a canary of everybody',
    (wire) => {
      wire.services[0]!.canary = { perMille: 1000, seed: 1, prefixes: [] }
    },
    /canary\.perMille/,
  ],
  [
    'a canary whose prefix is none',
    (wire) => {
      wire.services[0]!.canary = { perMille: 1, seed: 1, prefixes: ['198.18.0.0/16 goto x'] }
    },
    /canary\.prefixes/,
  ],
  [
    'another port for a range',
    (wire) => {
      wire.services[0]!.routes[2]!.serve = { port: 99 }
    },
    /routes\.2: another port needs a single port/,
  ],
  [
    'mixed families',
    (wire) => {
      wire.services[0]!.routes[0]!.forward!.to = old6
    },
    /families differ/,
  ],
  [
    'mixed families of a probe',
    (wire) => {
      wire.tunnels[0]!.probe!.pairs[0]!.peer = old6
    },
    /families differ/,
  ],
  [
    'an IPv6 local4',
    (wire) => {
      wire.tunnels[0]!.local4 = new6
    },
    /local4: no IPv4 address/,
  ],
  [
    'an IPv4 peer6',
    (wire) => {
      wire.tunnels[0]!.peer6 = old4
    },
    /peer6: no IPv6 address/,
  ],
  [
    'link-local ends of a tunnel of ours',
    (wire) => {
      wire.tunnels[0]!.local6 = 'fe80::1'
    },
    /local6: .*only driver direct/,
  ],
  [
    'no probe',
    (wire) => {
      wire.tunnels[0]!.probe = undefined
    },
    /tunnels\.0\.probe/,
  ],
  [
    'a probe port without a successor',
    (wire) => {
      wire.tunnels[0]!.probe!.port = 65535
    },
    /probe\.port/,
  ],
  [
    'a tunnel that is not there',
    (wire) => {
      wire.services[0]!.routes[0]!.forward!.tunnel = 2
    },
    /web: no tunnel 2/,
  ],
  [
    'tunnel 0',
    (wire) => {
      wire.tunnels[0]!.index = 0
    },
    /tunnels\.0\.index/,
  ],
  [
    'tunnel 64',
    (wire) => {
      wire.tunnels[0]!.index = 64
    },
    /tunnels\.0\.index/,
  ],
  ['two tunnels of one index', (wire) => void wire.tunnels.push(wire.tunnels[0]!), /two tunnels with one index/],
  ['two services of one name', (wire) => void wire.services.push(wire.services[0]!), /two services with one name/],
  [
    'one listener twice',
    (wire) => void wire.services.push({ ...wire.services[0]!, name: 'other' }),
    /other: tcp\/443 of 198\.51\.100\.20 is taken by web/,
  ],
  [
    'a listener on the probe port',
    (wire) => {
      wire.services[0]!.routes[0]!.ports = { from: 52820, to: 52820 }
    },
    /web: tcp\/52820 of 198\.51\.100\.20 is taken by the probes/,
  ],
  [
    'an unknown driver',
    (wire) => {
      wire.tunnels[0]!.driver = 'gre'
    },
    /tunnels\.0\.driver/,
  ],
  [
    'an unknown stage',
    (wire) => {
      wire.services[0]!.stage = 'done'
    },
    /services\.0\.stage/,
  ],
  [
    'an unknown role',
    (wire) => {
      wire.tunnels[0]!.role = ''
    },
    /tunnels\.0\.role/,
  ],
  [
    'an unknown protocol',
    (wire) => {
      wire.services[0]!.routes[0]!.protocol = 'sctp'
    },
    /routes\.0\.protocol/,
  ],
  [
    'a tiny MTU',
    (wire) => {
      wire.tunnels[0]!.mtu = 1279
    },
    /tunnels\.0\.mtu/,
  ],
  [
    'a key that is none',
    (wire) => {
      wire.tunnels[0]!.peerIdentity = 'x'
    },
    /peerIdentity: no WireGuard public key/,
  ],
  [
    'a key with a line behind it',
    (wire) => {
      wire.tunnels[0]!.peerIdentity += '\nPostUp = reboot'
    },
    /no WireGuard public key/,
  ],
  [
    'a fingerprint with an option behind it',
    (wire) => void Object.assign(wire.tunnels[0]!, { driver: 'openvpn', peerIdentity: `${certificate}\nup /bin/sh` }),
    /no SHA-256 fingerprint/,
  ],
  [
    'direct without a device',
    (wire) => void Object.assign(wire.tunnels[0]!, { driver: 'direct', peerIdentity: '' }),
    /direct needs a device/,
  ],
  ...['eth0"', 'a/b', '..', 'a b', 'x'.repeat(16), 'eth0\n', '$(id)'].map(
    (device): [string, (wire: Wire) => unknown, RegExp] => [
      `device ${JSON.stringify(device)}`,
      (wire) => void Object.assign(wire.tunnels[0]!, { driver: 'direct', peerIdentity: '', device }),
      /tunnels\.0\.device/,
    ],
  ),
  [
    'a device of a tunnel of ours',
    (wire) => {
      wire.tunnels[0]!.device = 'eth1'
    },
    /only direct names a device/,
  ],
  [
    'a device with one of our names',
    (wire) => void Object.assign(wire.tunnels[0]!, { driver: 'direct', peerIdentity: '', device: 'fm1' }),
    /a name of our own devices/,
  ],
  [
    'more tunnels than a mark can tell',
    (wire) => ({ ...wire, tunnels: Array.from({ length: 64 }, () => wire.tunnels[0]) }),
    /tunnels/,
  ],
  [
    'more routes than a service has',
    (wire) => {
      wire.services[0]!.routes = Array.from({ length: 4097 }, () => wire.services[0]!.routes[0]!)
    },
    /services\.0\.routes/,
  ],
  [
    'more ports than a kernel should hold',
    (wire) => {
      wire.services[0]!.routes = Array.from({ length: 16 }, (_, i) => ({
        ...serve(['udp', [1, 65535]], ip(`198.51.100.${i + 1}`)),
        forward: undefined,
        serve: { port: 0 },
        pause: false,
        redirect: false,
        helper: '',
      }))
    },
    /are more than 1,000,000/,
  ],
]

test.each(hostile)('refuses %s', (_, spoil, message) => {
  const wire = structuredClone(valid())
  const result = spoil(wire)
  // Those that take the message and give nothing back have spoilt it in place.
  expect(refusal(result === undefined && spoil.length > 0 ? wire : result).message).toMatch(message)
})

it('shows no control character of what it refuses', () => {
  expect(refusal({ ...valid(), fleet: 'a\u001b[31m\u009b\n' }).message).not.toMatch(/\p{Cc}/u)
})

/** Every place of a message, one after another. */
function places(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [path]
  return [
    path,
    ...Object.entries(value).flatMap(([key, inner]) =>
      places(inner, [...path, Array.isArray(value) ? Number(key) : key]),
    ),
  ]
}

function replaced(value: unknown, [head, ...rest]: (string | number)[], by: unknown): unknown {
  if (head === undefined) return by
  const copy = (Array.isArray(value) ? [...value] : { ...(value as Json) }) as Record<string | number, unknown>
  copy[head] = replaced(copy[head], rest, by)
  return copy
}

const takenOrInvalid = (message: unknown): void => {
  try {
    const taken = decodeHostSpec(message as Wire)
    expect(decodeHostSpec(encodeHostSpec(taken))).toEqual(taken)
  } catch (error) {
    if (!(error instanceof FleetmoveError) || error.code !== 'invalid') throw error
  }
}

describe('garbage is taken as a valid spec or refused as invalid, and nothing else', () => {
  const garbage = fc.oneof(
    fc.anything({ withNullPrototype: true, withBigInt: true, withTypedArray: true }),
    fc.constantFrom(0, -1, 65536, Number.NaN, '', '::', '1.2.3.4', null, undefined, [], {}, 'tcp', '__proto__'),
  )
  const message = structuredClone(valid())
  it('instead of a whole message', () => {
    fc.assert(fc.property(garbage, takenOrInvalid))
  })
  it('in one or two places of a good one', () => {
    const place = fc.constantFrom(...places(message))
    fc.assert(
      fc.property(place, garbage, place, garbage, (one, by, two, other) => {
        const once = replaced(message, one, by)
        takenOrInvalid(once)
        let twice: unknown
        try {
          twice = replaced(once, two, other)
        } catch {
          return
        }
        takenOrInvalid(twice)
      }),
      { numRuns: cases(1000) },
    )
  })
  it('as bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        let decoded: WireHostSpec
        try {
          decoded = WireHostSpec.decode(bytes)
        } catch {
          return
        }
        takenOrInvalid(decoded)
      }),
      { numRuns: cases(500) },
    )
  })
})
