import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { loadFleet, parseFleet } from '../../../../controller/config/load-fleet.js'
import { FleetmoveError } from '../../../../proto/model/error.js'
import type { Name } from '../../../../proto/model/names.js'
import { cases } from '../../cases.js'
import { exampleFleet } from './example-fleet.js'

/** Two hosts and a service, in lines so that places can be counted: `with` goes under the service. */
const small = (...withService: string[]) =>
  [
    'fleet: f', // line 1
    'hosts:',
    '  old: { ssh: a, addresses: [203.0.113.1, "2001:db8:a::1"] }', // 3
    '  new: { ssh: b, addresses: [198.51.100.1, "2001:db8:b::1"] }',
    'services:',
    '  web:', // 6
    '    from: old',
    '    to: new',
    '    listen: [tcp/80]',
    ...withService.map((line) => `    ${line}`), // 10
    '',
  ].join('\n')

const errorOf = (text: string): FleetmoveError => {
  try {
    parseFleet(text, 'fleet.yaml')
  } catch (error) {
    if (error instanceof FleetmoveError) return error
    throw error
  }
  throw new Error(`no error in ${text}`)
}
/** The lines of the error, each of which must stand where the text has what it says was found. */
const linesOf = (text: string) => {
  const lines = errorOf(text).message.split('\n')
  for (const line of lines) {
    const match = /^fleet\.yaml:(\d+):(\d+): (?:.*?: )?found (?:the (?:unknown )?key )?("(?:[^"\\]|\\.)*")/.exec(line)
    if (match === null) continue
    const source = text.split(/\r?\n/)[Number(match[1]) - 1]!.slice(Number(match[2]) - 1)
    const found: string = JSON.parse(match[3]!)
    // Escapes, quotes and capitals are written in another way in the file.
    if (/^[\w./:-]+$/.test(found)) expect(source.replace(/^["']/, '')).toMatch(startOf(found))
  }
  return lines
}
const startOf = (found: string) => new RegExp(`^${found.replace(/[.]/g, '\\.')}`, 'i')
const serviceOf = (text: string, name = 'web') => parseFleet(text, 'fleet.yaml').services.get(name as Name)!

describe('a sound file', () => {
  it('reads the example', () => {
    const fleet = parseFleet(exampleFleet, 'fleet.yaml')
    expect(fleet.name).toBe('spring-move')
    expect(fleet.tunnel).toEqual({ port: 51820, driver: 'auto', unreachable: 'hold' })
    expect([...fleet.hosts]).toEqual([
      [
        'old',
        {
          name: 'old',
          ssh: 'root@203.0.113.10',
          become: 'none',
          addresses: [
            { public: '203.0.113.10', local: undefined },
            { public: '2001:db8:a::10', local: undefined },
          ],
          direct: undefined,
        },
      ],
      [
        'new',
        {
          name: 'new',
          ssh: 'deploy@198.51.100.20',
          become: 'sudo',
          addresses: [
            { public: '198.51.100.20', local: '10.0.0.5' },
            { public: '2001:db8:b::20', local: undefined },
          ],
          direct: undefined,
        },
      ],
    ])
    expect([...fleet.vantages.values()]).toEqual([{ name: 'probe1', ssh: 'ops@198.18.9.9' }])
    expect([...fleet.services.keys()]).toEqual(['web', 'mail'])
    expect(serviceOf(exampleFleet)).toMatchObject({
      addresses: [{ old: '203.0.113.10', new: '198.51.100.20' }],
      lifecycle: { kind: 'unit', unit: 'nginx.service' },
      health: { kind: 'http', url: 'http://127.0.0.1:80/healthz' },
      egress: undefined,
    })
    expect(serviceOf(exampleFleet, 'mail')).toMatchObject({
      addresses: undefined,
      strategy: 'recreate',
      holdMs: 15_000,
      drainMs: 60_000,
      lifecycle: { kind: 'run', start: 'systemctl start postfix', stop: 'systemctl stop postfix' },
      health: { kind: 'tcp' },
      data: ['/var/spool/postfix'],
      egress: 'new',
      egressFrom: { kind: 'listeners', listeners: true },
    })
  })

  it('fills in defaults', () => {
    const fleet = parseFleet(small(), 'fleet.yaml')
    expect(fleet.tunnel).toEqual({ port: 51820, driver: 'auto', unreachable: 'hold' })
    expect(fleet.vantages.size).toBe(0)
    expect(serviceOf(small())).toEqual({
      name: 'web',
      from: 'old',
      to: 'new',
      listen: [{ protocol: 'tcp', ports: { from: 80, to: 80 }, oldPort: undefined, newPort: undefined }],
      addresses: undefined,
      movesAddress: false,
      strategy: 'rolling',
      holdMs: 15_000,
      drainMs: 60_000,
      drainThen: 'leave',
      lifecycle: undefined,
      health: { kind: 'tcp' },
      wave: 1,
      names: [],
      after: [],
      data: [],
      egress: undefined,
      egressFrom: undefined,
      localhost: false,
      hooks: { beforeMove: undefined, afterMove: undefined, onRollback: undefined },
      check: undefined,
    })
  })

  it('reads every other form', () => {
    const text = small(
      'container: web-1',
      'hold: 500ms',
      'drain: 2m',
      'drain_then: reset',
      'health: { command: "curl -f localhost" }',
      'data: [/srv/a/, "/srv/b c"]',
      'hooks: { before_move: a, after_move: b, on_rollback: c }',
      'check: tcp/81',
      'wave: 2',
    ).replace('[tcp/80]', '[tcp/30000-30100, { port: udp/53, old: 5353, new: 5354 }, { port: tcp/1-2 }]')
    expect(serviceOf(text)).toMatchObject({
      listen: [
        { protocol: 'tcp', ports: { from: 30000, to: 30100 }, oldPort: undefined, newPort: undefined },
        { protocol: 'udp', ports: { from: 53, to: 53 }, oldPort: 5353, newPort: 5354 },
        { protocol: 'tcp', ports: { from: 1, to: 2 }, oldPort: undefined, newPort: undefined },
      ],
      lifecycle: { kind: 'container', container: 'web-1' },
      holdMs: 500,
      drainMs: 120_000,
      drainThen: 'reset',
      health: { kind: 'command', command: 'curl -f localhost' },
      data: ['/srv/a', '/srv/b c'],
      hooks: { beforeMove: 'a', afterMove: 'b', onRollback: 'c' },
      check: 81,
      wave: 2,
    })
    expect(serviceOf(small('health: tcp')).health).toEqual({ kind: 'tcp' })
  })

  it('has addresses in canonical text, on both sides of a mapping too', () => {
    const text = small('addresses: { "2001:DB8:A:0::1": "2001:db8:b:0:0::1" }').replace(
      '2001:db8:a::1',
      '2001:0db8:a::0001',
    )
    expect(serviceOf(text).addresses).toEqual([{ old: '2001:db8:a::1', new: '2001:db8:b::1' }])
  })

  it('takes names that every object has, CRLF, a byte order mark, anchors and aliases', () => {
    const text = small('unit: &u web.service').replaceAll('web:', 'constructor:').replaceAll('\n', '\r\n')
    const other = ['  web:', '    from: old', '    to: new', '    listen: [tcp/81]', '    unit: *u', ''].join('\n')
    const fleet = parseFleet(`\ufeff${text}${other}`, 'fleet.yaml')
    expect([...fleet.services.keys()]).toEqual(['constructor', 'web'])
    expect(fleet.services.get('web' as Name)?.lifecycle).toEqual({ kind: 'unit', unit: 'web.service' })
  })

  it('lets services share a port on different addresses, and private addresses recur between strangers', () => {
    const text = `fleet: f
hosts:
  a: { ssh: a, addresses: [{ public: 203.0.113.1, local: 10.0.0.5 }, 203.0.113.2] }
  b: { ssh: b, addresses: [{ public: 198.51.100.1, local: 10.0.0.6 }, 198.51.100.2] }
  c: { ssh: c, addresses: [{ public: 198.51.100.9, local: 10.0.0.5 }] }
services:
  x: { from: a, to: b, listen: [tcp/80], addresses: { 203.0.113.1: 198.51.100.1 } }
  y: { from: a, to: b, listen: [tcp/80], addresses: { 203.0.113.2: 198.51.100.2 } }
  z: { from: b, to: c, listen: [udp/80, tcp/81], after: [y] }
`
    expect(parseFleet(text, 'fleet.yaml').services.size).toBe(3)
  })

  it('takes a direct link with an address at both ends', () => {
    const text = `${small().replace('{ ssh: a,', '{ ssh: a, direct: 10.1.0.1,').replace('{ ssh: b,', '{ ssh: b, direct: 10.1.0.2,')}tunnel: { driver: direct }\n`
    const fleet = parseFleet(text, 'fleet.yaml')
    expect([...fleet.hosts.values()].map((host) => host.direct)).toEqual(['10.1.0.1', '10.1.0.2'])
  })

  it('reads what a generated fleet says', () => {
    const port = fc.integer({ min: 1, max: 65535 }).filter((it) => it !== 51820)
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,31}$/), { minLength: 2, maxLength: 6 }),
        fc.uniqueArray(port, { minLength: 6, maxLength: 6 }),
        (names, ports) => {
          const services = names.map((name, i) => [name, { from: 'old', to: 'new', listen: [`tcp/${ports[i]}`] }])
          const hosts = {
            old: { ssh: 'a', addresses: ['203.0.113.1'] },
            new: { ssh: 'b', addresses: ['198.51.100.1'] },
          }
          // JSON is YAML.
          const text = JSON.stringify({ fleet: names[0], hosts, services: Object.fromEntries(services) })
          const fleet = parseFleet(text, 'fleet.yaml')
          expect([...fleet.services.keys()].sort()).toEqual([...names].sort())
          names.forEach((name, i) => {
            expect(fleet.services.get(name as Name)?.listen[0]?.ports).toEqual({ from: ports[i], to: ports[i] })
          })
        },
      ),
      { numRuns: cases(50) },
    )
  })
})

const hostPart = (old: string, young = '{ ssh: b, addresses: [198.51.100.1] }') =>
  `fleet: f\nhosts:\n  old: ${old}\n  new: ${young}\nservices:\n  web: { from: old, to: new, listen: [tcp/80] }\n`
const services = (...lines: string[]) => [...small().split('\n').slice(0, 5), ...lines, ''].join('\n')

describe('text that is no fleet', () => {
  it.each<[string, string, string[]]>([
    ['an empty file', '', ['1:1: found nothing, allowed a mapping with fleet, hosts and services']],
    ['comments alone', '# soon\n', ['1:1: found nothing, allowed a mapping with fleet, hosts and services']],
    ['a list', '- a\n', ['1:1: found a list, allowed a mapping with fleet, hosts and services']],
    ['a word', 'hello\n', ['1:1: found "hello", allowed a mapping with fleet, hosts and services']],
    ['tabs', 'hosts:\n\told: 1\n', ['2:1: not YAML: Tabs are not allowed as indentation']],
    ['an open quote', 'fleet: "f\n', ['2:1: not YAML: Missing closing "quote']],
    ['two documents', `${small()}---\nfleet: g\n`, ['10:1: found a second document, allowed one a file']],
    ['a tag', small().replace('fleet: f', 'fleet: !env f'), ['1:8: not plain YAML: Unresolved tag: !env']],
    ['an unknown alias', small('unit: *u'), ['10:11: found *u, but there is no &u before it']],
    [
      'an alias of itself',
      small('data: &d [*d]'),
      ['10:15: services.web.data[0]: found a list, allowed an absolute path other than / without . or .. in it'],
    ],
    [
      'a key that is a list',
      small('? [a]', ': b'),
      ['10:7: found a list, a mapping or an alias as a key, allowed plain text'],
    ],
    ['the key __proto__', small('__proto__: { wave: 2 }'), ['10:5: found the key "__proto__", allowed other names']],
    [
      'a key twice',
      small('wave: 1', 'wave: 2'),
      ['11:5: found the key "wave" a second time, allowed once (the first is on line 10)'],
    ],
    [
      'a key twice in other words, among other faults',
      'fleet: F\nhosts: {}\n1: a\n"1": b\n',
      [
        '1:1: services: found nothing, allowed a mapping of names to services',
        '1:8: fleet: found "F", allowed a name of 1 to 32 characters of a-z, 0-9 and -, beginning with a letter or digit',
        '2:8: hosts: found an empty mapping, allowed one of the hosts or more',
        '3:1: 1: found the unknown key "1", allowed fleet, hosts, tunnel, services, dns, log, vantages',
        '4:1: found the key "1" a second time, allowed once (the first is on line 3)',
      ],
    ],
  ])('%s', (_, text, lines) => {
    expect(linesOf(text)).toEqual(lines.map((line) => `fleet.yaml:${line}`))
  })

  it('stops at aliases that grow', () => {
    const bomb = ['a: &a [x, x, x, x, x, x, x, x, x]']
    for (const [i, name] of [...'bcdefghij'].entries()) {
      bomb.push(`${name}: &${name} [${Array(9).fill(`*${'abcdefghij'[i]}`).join(', ')}]`)
    }
    expect(linesOf(bomb.join('\n'))).toEqual(['fleet.yaml:1:1: aliases expand to too much, allowed 100 uses in all'])
  })

  it('stops at many aliases', () => {
    const text = `a: &a x\nb:\n${'  - *a\n'.repeat(100_000)}`
    expect(linesOf(text)).toEqual(['fleet.yaml:103:5: found another alias after 100, allowed 100 a file'])
  })

  it('stops at deep nesting', () => {
    expect(linesOf('['.repeat(100_000))).toEqual([expect.stringMatching(/^fleet\.yaml:1:\d+: nested too deeply$/)])
  })

  it('says nothing but usage errors about any text', () => {
    const piece = fc.constantFrom(...small().split(/(?<=\W)/), '&a', '*a', '!t ', '|', '\t', '"', "'", '?', '__proto__')
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const lines = linesOf(pieces.join(''))
        for (const line of lines) expect(line).toMatch(/^fleet\.yaml:\d+:\d+: /)
      }),
      { numRuns: cases(300) },
    )
  })
})

describe('what a key may hold', () => {
  const nameForm = 'a name of 1 to 32 characters of a-z, 0-9 and -, beginning with a letter or digit'
  const serviceKeys =
    'from, to, listen, addresses, address, redirect, strategy, hold, drain, drain_then, unit, container, compose, run, health, wave, names, after, data, egress, egress_from, localhost, hooks, check'
  it.each<[string, string, string[]]>([
    ['a number for a name', small().replace('fleet: f', 'fleet: 7'), ['1:8: fleet: found 7, allowed a name']],
    ['a service name', small().replace('web:', 'Web_1:'), [`6:3: services.Web_1: found "Web_1", allowed ${nameForm}`]],
    ['a name with a dot', small().replace('web:', 'a.b:'), [`6:3: services["a.b"]: found "a.b", allowed ${nameForm}`]],
    [
      'no to',
      small().replace('    to: new\n', ''),
      ['6:3: services.web.to: found nothing, allowed the name of a host'],
    ],
    [
      'an empty to',
      small().replace('to: new', 'to:'),
      ['8:5: services.web.to: found nothing, allowed the name of a host'],
    ],
    [
      'an empty service',
      services('  web:'),
      ['6:3: services.web: found nothing, allowed a mapping with from, to and listen'],
    ],
    [
      'no services',
      small().split('\n').slice(0, 4).join('\n'),
      ['1:1: services: found nothing, allowed a mapping of names to services'],
    ],
    [
      'services without one',
      small().split('\n').slice(0, 4).join('\n').concat('\nservices: {}'),
      ['5:11: services: found an empty mapping, allowed one of the services or more'],
    ],
    [
      'a misspelt key',
      small('strategi: rolling'),
      [
        `10:5: services.web.strategi: found the unknown key "strategi", allowed ${serviceKeys}; did you mean "strategy"?`,
      ],
    ],
    [
      'a key from nowhere',
      small('colour: red'),
      [`10:5: services.web.colour: found the unknown key "colour", allowed ${serviceKeys}`],
    ],
    [
      'a merge key',
      small('<<: { wave: 2 }'),
      [`10:5: services.web["<<"]: found the unknown key "<<", allowed ${serviceKeys}`],
    ],
    [
      'a misspelt part',
      `${small()}tunel: { port: 1 }\n`,
      [
        '10:1: tunel: found the unknown key "tunel", allowed fleet, hosts, tunnel, services, dns, log, vantages; did you mean "tunnel"?',
      ],
    ],
    [
      'a misspelt driver',
      `${small()}tunnel: { driver: wiregaurd }\n`,
      [
        '10:19: tunnel.driver: found "wiregaurd", allowed auto, openvpn, wireguard-l2, wireguard, direct; did you mean "wireguard"?',
      ],
    ],
    [
      'a tunnel port',
      `${small()}tunnel: { port: 0 }\n`,
      ['10:17: tunnel.port: found 0, allowed a whole number from 1 to 65535'],
    ],
    [
      'a port in words',
      `${small()}tunnel: { port: "1" }\n`,
      ['10:17: tunnel.port: found "1", allowed a whole number from 1 to 65535'],
    ],
    ['half a wave', small('wave: 1.5'), ['10:11: services.web.wave: found 1.5, allowed a whole number from 1 to 1000']],
    [
      'a misspelt strategy',
      small('strategy: recrate'),
      ['10:15: services.web.strategy: found "recrate", allowed rolling, recreate; did you mean "recreate"?'],
    ],
    [
      'a strategy that is true',
      small('strategy: true'),
      ['10:15: services.web.strategy: found true, allowed rolling, recreate'],
    ],
    ['drain_then', small('drain_then: kill'), ['10:17: services.web.drain_then: found "kill", allowed reset, leave']],
    [
      'become',
      hostPart('{ ssh: a, become: su, addresses: [203.0.113.1] }'),
      ['3:26: hosts.old.become: found "su", allowed none, sudo'],
    ],
    [
      'a duration without a unit',
      small('hold: 15'),
      ['10:11: services.web.hold: found 15, allowed a duration such as 500ms, 15s, 2m or 1h'],
    ],
    [
      'a duration in days',
      small('drain: 1d'),
      ['10:12: services.web.drain: found "1d", allowed a duration such as 500ms, 15s, 2m or 1h, at most 168h'],
    ],
    [
      'listeners',
      small().replace('[tcp/80]', '[tcp/80, tcp/0, icmp, 443, tcp/90-80]'),
      [
        '9:22: services.web.listen[1]: found "tcp/0", allowed tcp/PORT or udp/PORT with PORT 1 to 65535',
        '9:29: services.web.listen[2]: found "icmp", allowed tcp/PORT or udp/PORT with PORT 1 to 65535',
        '9:35: services.web.listen[3]: found 443, allowed a listener such as tcp/443, or { port: tcp/443, old: PORT, new: PORT }',
        '9:40: services.web.listen[4]: found "tcp/90-80", allowed tcp/FROM-TO or udp/FROM-TO with ports 1 to 65535, FROM not above TO',
      ],
    ],
    [
      'no listeners',
      small().replace('[tcp/80]', '[]'),
      ['9:13: services.web.listen: found an empty list, allowed a list of one listener or more, such as [tcp/443]'],
    ],
    [
      'one listener without a list',
      small().replace('[tcp/80]', 'tcp/80'),
      ['9:13: services.web.listen: found "tcp/80", allowed a list of one listener or more, such as [tcp/443]'],
    ],
    [
      'old and new ports',
      small().replace('[tcp/80]', '[{ port: tcp/80, old: 0 }, { port: tcp/1-9, old: 1, new: 2 }, { prot: tcp/81 }]'),
      [
        '9:35: services.web.listen[0].old: found 0, allowed a whole number from 1 to 65535',
        '9:62: services.web.listen[1].old: found 1, allowed no old port with a range: list the ports one by one',
        '9:70: services.web.listen[1].new: found 2, allowed no new port with a range: list the ports one by one',
        '9:75: services.web.listen[2].port: found nothing, allowed tcp/PORT or udp/PORT with PORT 1 to 65535',
        '9:77: services.web.listen[2].prot: found the unknown key "prot", allowed port, old, new, helper; did you mean "port"?',
      ],
    ],
    [
      'addresses of hosts',
      hostPart(
        '{ ssh: a, addresses: [127.0.0.1, 0x7f.1, "fe80::1%eth0", example.com, 5, { public: 1.2.3, locl: x }] }',
      ),
      [
        '3:30: hosts.old.addresses[0]: found "127.0.0.1", allowed an address of one host that others can reach (this one is loopback)',
        '3:41: hosts.old.addresses[1]: found "0x7f.1", allowed an IPv4 or IPv6 address',
        '3:49: hosts.old.addresses[2]: found "fe80::1%eth0", allowed an address without a zone (%…)',
        '3:65: hosts.old.addresses[3]: found "example.com", allowed an IPv4 or IPv6 address',
        '3:78: hosts.old.addresses[4]: found 5, allowed an address, or { public: ADDRESS, local: ADDRESS }',
        '3:91: hosts.old.addresses[5].public: found "1.2.3", allowed an IPv4 or IPv6 address',
        '3:98: hosts.old.addresses[5].locl: found the unknown key "locl", allowed public, local; did you mean "local"?',
      ],
    ],
    [
      'a host without addresses',
      hostPart('{ ssh: a, addresses: [] }'),
      ['3:29: hosts.old.addresses: found an empty list, allowed a list of one address or more'],
    ],
    [
      'a host that lacks addresses',
      hostPart('{ ssh: a }'),
      ['3:3: hosts.old.addresses: found nothing, allowed a list of one address or more'],
    ],
    [
      'an SSH target that is an option',
      hostPart('{ ssh: "-oProxyCommand=x", addresses: [203.0.113.1] }'),
      [
        '3:15: hosts.old.ssh: found "-oProxyCommand=x", allowed [USER@]HOST[:PORT], and brackets around IPv6 before a port',
      ],
    ],
    [
      'a vantage',
      `${small()}vantages: { probe: { shh: x } }\n`,
      [
        '10:13: vantages.probe.ssh: found nothing, allowed [USER@]HOST[:PORT]',
        '10:22: vantages.probe.shh: found the unknown key "shh", allowed ssh; did you mean "ssh"?',
      ],
    ],
    [
      'run without stop',
      small('run: { start: x }'),
      ['10:5: services.web.run.stop: found nothing, allowed a shell command'],
    ],
    [
      'a blank command',
      small('run: { start: x, stop: " " }'),
      ['10:28: services.web.run.stop: found " ", allowed a shell command'],
    ],
    [
      'NUL in a command',
      small('check: udp/81'),
      ['10:12: services.web.check: found "udp/81", allowed one TCP port such as tcp/81'],
    ],
    [
      'a unit',
      small('unit: -H'),
      ['10:11: services.web.unit: found "-H", allowed a systemd unit such as nginx.service'],
    ],
    [
      'a container',
      small('container: a/b'),
      ['10:16: services.web.container: found "a/b", allowed the name of a container'],
    ],
    [
      'health in a word',
      small('health: http'),
      ['10:13: services.web.health: found "http", allowed tcp, { http: URL } or { command: COMMAND }'],
    ],
    [
      'health of no kind',
      small('health: {}'),
      ['10:13: services.web.health: found an empty mapping, allowed tcp, { http: URL } or { command: COMMAND }'],
    ],
    [
      'health of two kinds',
      small('health: { http: "http://a/", command: x }'),
      ['10:13: services.web.health: found a mapping, allowed tcp, { http: URL } or { command: COMMAND }'],
    ],
    [
      'health of an unknown kind',
      small('health: { htpp: x }'),
      ['10:15: services.web.health.htpp: found the unknown key "htpp", allowed http, command; did you mean "http"?'],
    ],
    [
      'a health URL',
      small('health: { http: "ftp://a/" }'),
      ['10:21: services.web.health.http: found "ftp://a/", allowed a URL such as http://127.0.0.1:80/healthz'],
    ],
    [
      'data',
      small('data: [spool, /, /a/../b, "/a\\nb", //a]'),
      [
        '10:12: services.web.data[0]: found "spool", allowed an absolute path other than / without . or .. in it',
        '10:19: services.web.data[1]: found "/", allowed an absolute path other than / without . or .. in it',
        '10:22: services.web.data[2]: found "/a/../b", allowed an absolute path other than / without . or .. in it',
        '10:31: services.web.data[3]: found "/a\\nb", allowed an absolute path other than / without . or .. in it',
        '10:40: services.web.data[4]: found "//a", allowed an absolute path other than / without . or .. in it',
      ],
    ],
    [
      'hooks',
      small('hooks: { beforeMove: x }'),
      [
        '10:14: services.web.hooks.beforeMove: found the unknown key "beforeMove", allowed before_move, after_move, on_rollback; did you mean "before_move"?',
      ],
    ],
  ])('%s', (_, text, lines) => {
    expect(linesOf(text)).toEqual(lines.map((line) => `fleet.yaml:${line}`))
  })
})

describe('secrets', () => {
  const told = (key: string) =>
    `found the key "${key}", but secrets never stand in fleet.yaml: SSH keys and the agent log in, the hosts keep their own`

  it.each([
    'password',
    'db_passwd',
    'passphrase',
    'secret',
    'clientSecret',
    'API_TOKEN',
    'private_key',
    'api-key',
    'credentials',
  ])('are refused under the key %s, and not repeated', (key) => {
    const { message } = errorOf(small(`${key}: hunter2`))
    expect(message).toBe(`fleet.yaml:10:5: services.web.${key}: ${told(key)}`)
  })

  it('are refused in an SSH target and a URL, and not repeated', () => {
    expect(linesOf(hostPart('{ ssh: "root:hunter2@h", addresses: [203.0.113.1] }'))).toEqual([
      'fleet.yaml:3:15: hosts.old.ssh: found a password, allowed [USER@]HOST[:PORT] without a secret: SSH keys and the agent log in',
    ])
    expect(linesOf(small('health: { http: "http://u:hunter2@h/" }'))).toEqual([
      'fleet.yaml:10:21: services.web.health.http: found a login, allowed a URL such as http://127.0.0.1:80/healthz, and no secret in it',
    ])
  })

  it('may be what a service is called', () => {
    expect(serviceOf(small().replace('web:', 'token-issuer:'), 'token-issuer').name).toBe('token-issuer')
  })
})

describe('egress', () => {
  it.each([
    ['unit: a.service', { kind: 'unit', unit: 'a.service' }],
    ['container: a', { kind: 'container', container: 'a' }],
    ['run: { start: a, stop: b }', { kind: 'listeners', listeners: true }],
    ['egress_from: { unit: b.service }', { kind: 'unit', unit: 'b.service' }],
    ['egress_from: { container: b }', { kind: 'container', container: 'b' }],
  ])('chosen by %s', (line, egressFrom) => {
    expect(serviceOf(small('egress: new', line), 'web')).toMatchObject({ egress: 'new', egressFrom })
  })
})

it('a service of Compose is started by its file', () => {
  expect(serviceOf(small('compose: { file: /srv/app/compose.yaml, service: web }'), 'web').lifecycle).toEqual({
    ...{ kind: 'compose', composeFile: '/srv/app/compose.yaml', composeService: 'web' },
  })
})

describe('what must fit together', () => {
  const direct = (old: string, young: string) => `${hostPart(old, young)}tunnel: { driver: direct }\n`
  it.each<[string, string, string[]]>([
    [
      'an unknown host',
      small().replace('from: old', 'from: odl'),
      ['7:11: services.web.from: found "odl", allowed one of the hosts old, new; did you mean "old"?'],
    ],
    [
      'a host called as every object is',
      small().replace('to: new', 'to: constructor'),
      ['8:9: services.web.to: found "constructor", allowed one of the hosts old, new'],
    ],
    [
      'its own host',
      small().replace('to: new', 'to: old'),
      ['8:9: services.web.to: found "old", where the service already is, allowed another host than from'],
    ],
    [
      'egress_from alone',
      small('egress_from: { uid: 25 }'),
      ['10:5: services.web.egress_from: found egress_from without egress, allowed both or neither'],
    ],
    [
      'egress_from with two of them',
      small('egress: new', 'egress_from: { unit: a.service, container: a }'),
      [
        '11:18: services.web.egress_from: found a mapping, allowed { unit: UNIT }, { container: NAME }, { uid: USER } or { source: ADDRESS/LENGTH }',
      ],
    ],
    [
      'egress_from with both',
      small('egress: new', 'egress_from: { uid: postfix, source: 172.18.0.0/16 }'),
      [
        '11:18: services.web.egress_from: found a mapping, allowed { unit: UNIT }, { container: NAME }, { uid: USER } or { source: ADDRESS/LENGTH }',
      ],
    ],
    [
      'egress',
      small('egress: nwe', 'egress_from: { uid: 25 }'),
      ['10:13: services.web.egress: found "nwe", allowed old or new, the service\'s own hosts; did you mean "new"?'],
    ],
    [
      'a vantage called as a host',
      `${small()}vantages: { old: { ssh: x } }\n`,
      ['10:13: vantages.old: found "old", allowed a name that no host has'],
    ],
    [
      'recreate without a lifecycle',
      small('strategy: recreate'),
      [
        '10:15: services.web.strategy: found "recreate" without a lifecycle, allowed it with unit, container, compose or run: the old side must be stopped',
      ],
    ],
    [
      'recreate with a bad lifecycle',
      small('strategy: recreate', 'unit: 5'),
      ['11:11: services.web.unit: found 5, allowed a systemd unit such as nginx.service'],
    ],
    [
      'three lifecycles',
      small('unit: a', 'container: b', 'run: { start: c, stop: d }'),
      [
        '11:5: services.web.container: found container besides unit, allowed one of unit, container, compose and run',
        '12:5: services.web.run: found run besides unit, allowed one of unit, container, compose and run',
      ],
    ],
    [
      'a listener twice in a service',
      small().replace('[tcp/80]', '[tcp/80, udp/80, tcp/70-90]'),
      [
        '9:30: services.web.listen[2]: found "tcp/70-90", but on 203.0.113.1 tcp/80 is this service\'s already, allowed each port once an address',
      ],
    ],
    [
      'a listener of two services',
      services(
        '  a: { from: old, to: new, listen: [tcp/80-90] }',
        '  b: { from: old, to: new, listen: [tcp/79, tcp/90] }',
      ),
      [
        '7:45: services.b.listen[1]: found "tcp/90", but on 203.0.113.1 tcp/80-90 is service a\'s already, allowed each port once an address',
      ],
    ],
    [
      'a listener of two services on the new side alone',
      `fleet: f
hosts:
  a: { ssh: a, addresses: [203.0.113.1] }
  b: { ssh: b, addresses: [203.0.113.2] }
  c: { ssh: c, addresses: [198.51.100.1] }
services:
  x: { from: a, to: c, listen: [tcp/80] }
  y: { from: b, to: c, listen: [tcp/80] }
`,
      [
        '8:33: services.y.listen[0]: found "tcp/80", but on 198.51.100.1 tcp/80 is service x\'s already, allowed each port once an address',
      ],
    ],
    [
      'a listener that arrives where another leaves',
      `fleet: f
hosts:
  a: { ssh: a, addresses: [203.0.113.1] }
  b: { ssh: b, addresses: [203.0.113.2] }
  c: { ssh: c, addresses: [198.51.100.1] }
services:
  x: { from: a, to: b, listen: [tcp/80] }
  y: { from: b, to: c, listen: [tcp/80] }
`,
      [
        '8:33: services.y.listen[0]: found "tcp/80", but on 203.0.113.2 tcp/80 is service x\'s already, allowed each port once an address',
      ],
    ],
    [
      "the tunnel's port",
      small().replace('[tcp/80]', '[tcp/51820, udp/51000-52000]'),
      [
        '9:25: services.web.listen[1]: found "udp/51000-52000", but the tunnel itself uses udp/51820 on both hosts, allowed other ports, or another tunnel.port',
      ],
    ],
    [
      'an old address of nobody',
      small('addresses: { 203.0.113.2: 198.51.100.1 }'),
      [
        '10:18: services.web.addresses["203.0.113.2"]: found "203.0.113.2", allowed an address of host old: 203.0.113.1, 2001:db8:a::1; did you mean "203.0.113.1"?',
      ],
    ],
    [
      'a new address of nobody',
      small('addresses: { 203.0.113.1: 192.0.2.99 }'),
      [
        '10:31: services.web.addresses["203.0.113.1"]: found "192.0.2.99", allowed an address of host new: 198.51.100.1, 2001:db8:b::1',
      ],
    ],
    [
      'a mapping between families',
      small('addresses: { 203.0.113.1: "2001:db8:b::1" }'),
      [
        '10:31: services.web.addresses["203.0.113.1"]: found "2001:db8:b::1", allowed an IPv4 address as 203.0.113.1 is',
      ],
    ],
    [
      'a mapping of no addresses',
      small('addresses: { www: 203.0.113.1%1 }'),
      [
        '10:18: services.web.addresses.www: found "www", allowed an IPv4 or IPv6 address',
        '10:23: services.web.addresses.www: found "203.0.113.1%1", allowed an address without a zone (%…)',
      ],
    ],
    [
      'a mapping in a list',
      small('addresses: [203.0.113.1]'),
      ['10:16: services.web.addresses: found a list, allowed a mapping of old addresses to new ones'],
    ],
    [
      'an empty mapping',
      small('addresses: {}'),
      [
        '10:16: services.web.addresses: found an empty mapping, allowed one pair of addresses or more, or no addresses key',
      ],
    ],
    [
      'a mapping that says one thing twice',
      hostPart('{ ssh: a, addresses: [203.0.113.1, 203.0.113.2] }').replace(
        '[tcp/80] }',
        '[tcp/80], addresses: { 203.0.113.1: 198.51.100.1, 203.0.113.2: 198.51.100.1 } }',
      ),
      [
        '6:101: services.web.addresses["203.0.113.2"]: found "198.51.100.1" a second time, allowed each address once: the way back must be clear',
      ],
    ],
    [
      'hosts without a common family',
      hostPart('{ ssh: a, addresses: ["2001:db8::1"] }'),
      [
        '6:25: services.web.to: found only IPv6 on old and only IPv4 on new, allowed hosts that share a family of addresses',
      ],
    ],
    [
      'one public address on two hosts',
      hostPart('{ ssh: a, addresses: [198.51.100.1] }'),
      ['4:30: hosts.new.addresses[0]: found "198.51.100.1", which host old has too, allowed an address of its own'],
    ],
    [
      'one public address twice',
      hostPart('{ ssh: a, addresses: ["2001:db8::1", 203.0.113.1, "2001:DB8::1"] }'),
      ['3:58: hosts.old.addresses[2]: found "2001:db8::1", which stands there already, allowed an address of its own'],
    ],
    [
      'one local address on both hosts of a move',
      hostPart(
        '{ ssh: a, addresses: [{ public: 203.0.113.1, local: 10.0.0.5 }] }',
        '{ ssh: b, addresses: [{ public: 198.51.100.1, local: 10.0.0.5 }] }',
      ),
      ['4:61: hosts.new.addresses[0].local: found "10.0.0.5", which host old has too, allowed an address of its own'],
    ],
    [
      'one local address for two public ones',
      hostPart(
        '{ ssh: a, addresses: [{ public: 203.0.113.1, local: 10.0.0.5 }, { public: 203.0.113.2, local: 10.0.0.5 }] }',
      ),
      [
        '3:102: hosts.old.addresses[1].local: found "10.0.0.5", which stands there already, allowed an address of its own',
      ],
    ],
    [
      'a local address that is public on the other host',
      hostPart('{ ssh: a, addresses: [{ public: 203.0.113.1, local: 198.51.100.1 }] }'),
      ['4:30: hosts.new.addresses[0]: found "198.51.100.1", which host old has too, allowed an address of its own'],
    ],
    [
      'a local address of another family',
      hostPart('{ ssh: a, addresses: [{ public: 203.0.113.1, local: "fd00::1" }] }'),
      ['3:60: hosts.old.addresses[0].local: found "fd00::1", allowed an IPv4 address as 203.0.113.1 is'],
    ],
    [
      'direct without addresses on the link',
      direct('{ ssh: a, addresses: [203.0.113.1] }', '{ ssh: b, addresses: [198.51.100.1] }'),
      [
        "3:3: hosts.old.direct: found nothing, allowed the host's address on the link that is there, for tunnel.driver is direct",
        "4:3: hosts.new.direct: found nothing, allowed the host's address on the link that is there, for tunnel.driver is direct",
      ],
    ],
    [
      'direct with one end of another family',
      direct(
        '{ ssh: a, direct: 10.0.0.1, addresses: [203.0.113.1] }',
        '{ ssh: b, direct: "fd00::1", addresses: [198.51.100.1] }',
      ),
      ['4:26: hosts.new.direct: found "fd00::1", allowed an IPv4 address as that of host old, 10.0.0.1, is'],
    ],
    [
      'direct with one address for both ends',
      direct(
        '{ ssh: a, direct: 10.0.0.1, addresses: [203.0.113.1] }',
        '{ ssh: b, direct: 10.0.0.1, addresses: [198.51.100.1] }',
      ),
      ['4:26: hosts.new.direct: found "10.0.0.1", which host old has too, allowed an address of its own'],
    ],
    ['after nobody', small('after: [mail]'), ['10:13: services.web.after[0]: found "mail", allowed another service']],
    [
      'after itself',
      small('after: [web]'),
      ['10:13: services.web.after[0]: found a circle, web after web, allowed an order that some service can begin'],
    ],
    [
      'after a misspelt service',
      services(
        '  a1: { from: old, to: new, listen: [tcp/1] }',
        '  bb: { from: old, to: new, listen: [tcp/2], after: [a2] }',
      ),
      ['7:54: services.bb.after[0]: found "a2", allowed one of the services a1; did you mean "a1"?'],
    ],
    [
      'after a later wave',
      services(
        '  a: { from: old, to: new, listen: [tcp/1], after: [b] }',
        '  b: { from: old, to: new, listen: [tcp/2], wave: 2 }',
      ),
      ['6:53: services.a.after[0]: found "b", which moves in wave 2, allowed a service of wave 1 or earlier'],
    ],
    [
      'circles, each once',
      services(
        '  a: { from: old, to: new, listen: [tcp/1], after: [b] }',
        '  b: { from: old, to: new, listen: [tcp/2], after: [c] }',
        '  c: { from: old, to: new, listen: [tcp/3], after: [d, b] }',
        '  d: { from: old, to: new, listen: [tcp/4] }',
        '  e: { from: old, to: new, listen: [tcp/5], after: [a] }',
      ),
      ['8:56: services.c.after[1]: found a circle, b after c after b, allowed an order that some service can begin'],
    ],
  ])('%s', (_, text, lines) => {
    expect(linesOf(text)).toEqual(lines.map((line) => `fleet.yaml:${line}`))
  })

  it("is told along with what is wrong by itself, in the file's order", () => {
    const text = small(
      'hold: soon',
      'egress_from: { uid: 25 }',
      'egress: nowhere',
      'strategy: recreate',
      'after: [web]',
    ).replace('to: new', 'to: nwe')
    expect(linesOf(text)).toEqual([
      'fleet.yaml:8:9: services.web.to: found "nwe", allowed one of the hosts old, new; did you mean "new"?',
      'fleet.yaml:10:11: services.web.hold: found "soon", allowed a duration such as 500ms, 15s, 2m or 1h, at most 168h',
      'fleet.yaml:12:13: services.web.egress: found "nowhere", allowed old or nwe, the service\'s own hosts',
      'fleet.yaml:13:15: services.web.strategy: found "recreate" without a lifecycle, allowed it with unit, container, compose or run: the old side must be stopped',
      'fleet.yaml:14:13: services.web.after[0]: found a circle, web after web, allowed an order that some service can begin',
    ])
  })

  it('is placed where an alias leads', () => {
    const text = services('  a: { from: old, to: new, listen: &l [tcp/0] }', '  b: { from: old, to: new, listen: *l }')
    expect(linesOf(text)).toEqual([
      'fleet.yaml:6:40: services.a.listen[0]: found "tcp/0", allowed tcp/PORT or udp/PORT with PORT 1 to 65535',
      'fleet.yaml:6:40: services.b.listen[0]: found "tcp/0", allowed tcp/PORT or udp/PORT with PORT 1 to 65535',
    ])
  })

  it('comes with the way out', () => {
    expect(errorOf(small('wave: 0'))).toMatchObject({
      code: 'usage',
      hint: 'correct fleet.yaml and try again; fleetmove schema prints a JSON Schema with which editors check it',
    })
    expect(errorOf('')).toMatchObject({ code: 'usage', hint: 'have one written: fleetmove init OLD NEW -o fleet.yaml' })
  })
})

describe('loadFleet', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fleet-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  const failure = async (path: string) => {
    const error = await loadFleet(path).catch((it: unknown) => it)
    if (error instanceof FleetmoveError) return error
    throw new Error(`no usage error: ${error}`)
  }

  it('reads a file', async () => {
    const path = join(folder, 'good.yaml')
    await writeFile(path, exampleFleet)
    expect(await loadFleet(path)).toEqual(parseFleet(exampleFleet, path))
  })

  it('names the file in errors', async () => {
    const path = join(folder, 'bad.yaml')
    await writeFile(path, small('wave: 0'))
    expect((await failure(path)).message).toBe(
      `${path}:10:11: services.web.wave: found 0, allowed a whole number from 1 to 1000`,
    )
  })

  it('says how to come by a file that is not there', async () => {
    const path = join(folder, 'none.yaml')
    expect(await failure(path)).toMatchObject({
      code: 'usage',
      message: `${path}: there is no such file`,
      hint: 'have one written: fleetmove init OLD NEW -o fleet.yaml; or name another with -f FILE',
    })
  })

  it('says why a file can not be read', async () => {
    expect(await failure(folder)).toMatchObject({
      code: 'usage',
      message: `${folder} can't be read: it is a directory`,
      hint: 'name a readable fleet.yaml with -f FILE',
    })
  })

  it('refuses other encodings and sizes', async () => {
    const path = join(folder, 'latin1.yaml')
    await writeFile(path, Buffer.from('fleet: caf\xe9\n', 'latin1'))
    expect(await failure(path)).toMatchObject({
      code: 'usage',
      message: `${path} is not UTF-8 text`,
      hint: 'save it as UTF-8',
    })
    await writeFile(path, Buffer.alloc(4 * 1024 * 1024 + 1, 0x20))
    expect((await failure(path)).message).toBe(
      `${path} is too large: found more than 4194304 bytes, and no fleet needs so many`,
    )
  })
})
