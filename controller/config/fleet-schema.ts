/**
 * The shape of fleet.yaml: what each key may hold, taken by itself. What has to fit together is in the
 * check-*.ts files. A schema's error text completes "found …, allowed …" (explain-issues.ts).
 */
import { z } from 'zod'
import type { Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import { containerPattern, metricsPattern, unitPattern } from '../../proto/model/host-spec.js'
import { type Name, namePattern } from '../../proto/model/names.js'
import { type Parsed, parseHostIp, parseIp, parseListener, parseName, parsePrefix, quote } from '../../proto/parse.js'
import { parseSshTarget } from '../ssh/ssh-target.js'
import { dns, domainName } from './dns-schema.js'
import { redirect } from './redirect-schema.js'
import {
  choice,
  command,
  duration,
  type IssueDetail,
  list,
  mapping,
  matchingText,
  parsedText,
  wholeNumber,
} from './schema-parts.js'

const name = parsedText(parseName, 'a name', {
  pattern: namePattern.source,
  description: 'Lower-case letters, digits and -, 1 to 32 characters',
})
/** check-references.ts lets through only names that are in the file, and those are names by the schema above. */
const reference = (what: string) => z.string({ error: `the name of ${what}` }).transform((text) => text as Name)
const hostIp = parsedText(parseHostIp, 'an IPv4 or IPv6 address', { description: 'An IPv4 or IPv6 address' })

const sshForm = '[USER@]HOST[:PORT]'
/** Kept as text: what it means is for ~/.ssh/config to say. A password in it is refused and not repeated. */
const sshTarget = parsedText(
  (text): Parsed<string> => {
    if (/^[^@]*:.*@/.test(text)) {
      return { ok: false, found: 'a password', allowed: `${sshForm} without a secret: SSH keys and the agent log in` }
    }
    try {
      parseSshTarget(text)
      return { ok: true, value: text }
    } catch (error) {
      if (!(error instanceof FleetmoveError)) throw error
      return { ok: false, found: quote(text), allowed: `${sshForm}, and brackets around IPv6 before a port` }
    }
  },
  sshForm,
  { description: '[user@]host[:port]; ~/.ssh/config, agent and known_hosts are honoured' },
)
const listener = parsedText(parseListener, 'tcp/PORT or udp/PORT with PORT 1 to 65535', {
  pattern: '^(tcp|udp)/[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$',
  description: 'Protocol and port or ports as clients see them: tcp/443, udp/53, tcp/30000-30100',
})
const port = wholeNumber(1, 65535)

const hostAddress = z.union(
  [
    hostIp.transform((ip) => ({ public: ip, local: undefined as Ip | undefined })),
    mapping({ public: hostIp, local: hostIp.optional() }, 'a mapping with public and local').transform((entry) => ({
      public: entry.public,
      local: entry.local,
    })),
  ],
  { error: 'an address, or { public: ADDRESS, local: ADDRESS }' },
)

const host = mapping(
  {
    ssh: sshTarget,
    become: choice(['none', 'sudo']).default('none'),
    addresses: list(hostAddress, 'a list of one address or more').meta({
      description: 'The public addresses that clients use, with the local one where the provider translates one to one',
    }),
    direct: hostIp
      .optional()
      .meta({ description: "Driver direct: the host's address on the link that is there already" }),
  },
  'a mapping with ssh and addresses',
)

const tunnel = mapping(
  {
    port: port.default(51820).meta({ description: 'UDP, on both hosts' }),
    driver: choice(['auto', 'openvpn', 'wireguard-l2', 'wireguard', 'direct']).default('auto'),
    unreachable: choice(['hold', 'reset']).default('hold').meta({
      description:
        'New clients while the tunnel is down: hold leaves them to try again until it is back, reset refuses them at once',
    }),
  },
  'a mapping with port, driver and unreachable',
)

const serviceListener = z.union(
  [
    listener.transform((it) => ({
      ...it,
      old: undefined as number | undefined,
      new: undefined as number | undefined,
      helper: undefined as 'ftp' | undefined,
    })),
    mapping(
      { port: listener, old: port.optional(), new: port.optional(), helper: choice(['ftp']).optional() },
      'a mapping with port, old, new and helper',
    ).transform((entry, context) => {
      const { from, to } = entry.port.ports
      for (const side of ['old', 'new'] as const) {
        if (from === to || entry[side] === undefined) continue
        const message = `no ${side} port with a range: list the ports one by one`
        context.issues.push({ code: 'custom', message, input: entry, path: [side] })
      }
      if (entry.helper !== undefined && (entry.port.protocol !== 'tcp' || from !== to)) {
        const message = 'a helper with one TCP port'
        context.issues.push({ code: 'custom', message, input: entry, path: ['helper'] })
      }
      return { ...entry.port, old: entry.old, new: entry.new, helper: entry.helper }
    }),
  ],
  { error: 'a listener such as tcp/443, or { port: tcp/443, old: PORT, new: PORT }' },
)

const mappedAddresses = z
  .record(z.string(), z.string({ error: "one of the new host's addresses" }), {
    error: 'a mapping of old addresses to new ones',
  })
  .meta({ description: 'Which old address becomes which new one; default: in order, by family' })
  .transform((entries, context) =>
    Object.entries(entries).flatMap(([key, value]) => {
      const sides = [
        { at: 'key', parsed: parseIp(key) },
        { at: 'value', parsed: parseIp(value) },
      ] as const
      for (const { at, parsed } of sides) {
        if (parsed.ok) continue
        const params: IssueDetail = { found: parsed.found, at }
        context.issues.push({ code: 'custom', message: parsed.allowed, input: value, path: [key], params })
      }
      const [before, after] = [sides[0].parsed, sides[1].parsed]
      return before.ok && after.ok ? [{ key, old: before.value, new: after.value }] : []
    }),
  )

/** Nothing that climbs, and no slash at the end, which copy programs read in different ways. */
const dataPathForm = 'an absolute path other than / without . or .. in it'
const dataPath = matchingText(/^(?!.*\/\.\.?(\/|$))(\/[^/]+)+\/?$/, dataPathForm)
  // Not in the pattern: editors that check by the JSON Schema differ in what they know of \p.
  .refine((path) => !/\p{Cc}/u.test(path), { error: dataPathForm })
  .transform((path) => path.replace(/\/$/, ''))

const httpUrl = parsedText(
  (text): Parsed<string> => {
    const allowed = 'a URL such as http://127.0.0.1:80/healthz'
    const url = /^https?:\/\/\S+$/.test(text) && URL.canParse(text) ? new URL(text) : undefined
    if (url === undefined) return { ok: false, found: quote(text), allowed }
    const secret = url.username !== '' || url.password !== ''
    return secret
      ? { ok: false, found: 'a login', allowed: `${allowed}, and no secret in it` }
      : { ok: true, value: text }
  },
  'a URL such as http://127.0.0.1:80/healthz',
  { pattern: '^https?://', description: 'Asked on the host where the service is' },
)

const healthForms = 'tcp, { http: URL } or { command: COMMAND }'
const health = z
  .union(
    [
      z.literal('tcp', { error: healthForms }).transform(() => ({ kind: 'tcp' as const })),
      mapping({ http: httpUrl.optional(), command: command.optional() }, healthForms).transform((entry, context) => {
        if (entry.http !== undefined && entry.command === undefined) return { kind: 'http' as const, url: entry.http }
        if (entry.command !== undefined && entry.http === undefined)
          return { kind: 'command' as const, command: entry.command }
        // An unknown key has been told, and is most likely the one that is missing.
        if (context.issues.length === 0) context.issues.push({ code: 'custom', message: healthForms, input: entry })
        return z.NEVER
      }),
    ],
    { error: healthForms },
  )
  .prefault('tcp')

const egressForms = '{ unit: UNIT }, { container: NAME }, { uid: USER } or { source: ADDRESS/LENGTH }'
/** As useradd(8) allows names; a number as it stands. */
const user = z.union(
  [wholeNumber(0, 2 ** 32 - 2).transform(String), matchingText(/^[a-z_][a-z0-9_-]{0,31}$/, 'a user’s name or number')],
  {
    error: 'a user’s name or number',
  },
)
const prefix = parsedText(parsePrefix, 'ADDRESS/LENGTH such as 172.18.0.0/16', {
  description: 'An address and a prefix length',
})
const unitName = matchingText(unitPattern, 'a systemd unit such as nginx.service')
const containerName = matchingText(containerPattern, 'the name of a container')
const choosers = {
  ...{ uid: user.optional(), source: prefix.optional() },
  ...{ unit: unitName.optional(), container: containerName.optional() },
}
const egressSource = mapping(choosers, egressForms).transform(({ uid, source, unit, container, ...entry }, context) => {
  const chosen = [
    ...(uid === undefined ? [] : [{ kind: 'uid' as const, uid }]),
    ...(source === undefined ? [] : [{ kind: 'source' as const, source }]),
    ...(unit === undefined ? [] : [{ kind: 'unit' as const, unit }]),
    ...(container === undefined ? [] : [{ kind: 'container' as const, container }]),
  ]
  if (chosen.length === 1) return chosen[0]!
  if (context.issues.length === 0) context.issues.push({ code: 'custom', message: egressForms, input: entry })
  return z.NEVER
})

const checkPort = listener.transform(({ protocol, ports }, context) => {
  if (protocol === 'tcp' && ports.from === ports.to) return ports.from
  context.issues.push({ code: 'custom', message: 'one TCP port such as tcp/81', input: `${protocol}/${ports.from}` })
  return z.NEVER
})

const service = mapping(
  {
    from: reference('a host'),
    to: reference('a host'),
    listen: list(serviceListener, 'a list of one listener or more, such as [tcp/443]'),
    addresses: mappedAddresses.optional(),
    address: choice(['forward', 'move']).default('forward').meta({
      description:
        'move: hosts on one segment; once the service has moved, its old addresses go over to the new host. forward: the old host keeps them and forwards',
    }),
    redirect: redirect.optional(),
    strategy: choice(['rolling', 'recreate'])
      .default('rolling')
      .meta({ description: 'rolling: both sides may run at once; recreate: never two at once' }),
    hold: duration.prefault('15s').meta({ description: 'The longest that new clients may be kept waiting' }),
    drain: duration.prefault('60s').meta({ description: 'The longest that established clients are waited for' }),
    drain_then: choice(['reset', 'leave'])
      .default('leave')
      .meta({ description: 'What becomes of clients that are still there after that time' }),
    unit: unitName.optional(),
    container: containerName.optional(),
    compose: mapping({ file: dataPath, service: containerName }, 'a mapping with file and service')
      .optional()
      .meta({ description: 'A service of a Compose project, whose file is at the same place on both hosts' }),
    run: mapping({ start: command, stop: command }, 'a mapping with start and stop').optional(),
    health,
    wave: wholeNumber(1, 1000).default(1),
    names: list(domainName, 'a list of one domain name or more')
      .optional()
      .meta({ description: 'The names by which clients find the service: what fleetmove dns asks for and changes' }),
    after: list(reference('a service'), 'a list of one service or more')
      .optional()
      .meta({ description: 'Services that must have moved before this one' }),
    data: list(dataPath, 'a list of one absolute path or more').optional(),
    egress: reference('a host')
      .optional()
      .meta({ description: 'Connections that the service opens leave with this host’s address' }),
    egress_from: egressSource.optional().meta({
      description:
        'Which connections are the service’s own: of a unit or container, of a user, or from addresses; default: of its unit: or container:, else of whoever listens on its ports',
    }),
    localhost: z
      .boolean({ error: 'true or false' })
      .default(false)
      .meta({ description: 'After the move, processes of the old host reach the service at 127.0.0.1 as before' }),
    hooks: mapping(
      { before_move: command.optional(), after_move: command.optional(), on_rollback: command.optional() },
      'a mapping with before_move, after_move and on_rollback',
    ).optional(),
    check: checkPort.optional().meta({
      description: 'tcp/PORT by which an upstream balancer checks a host: refused on the host that is being left',
    }),
  },
  'a mapping with from, to and listen',
)

const vantage = mapping({ ssh: sshTarget }, 'a mapping with ssh')

const named = <Entry extends z.ZodType>(entry: Entry, what: string) =>
  z
    .record(name, entry, { error: `a mapping of names to ${what}` })
    .refine((entries) => Object.keys(entries).length > 0, { error: `one of the ${what} or more` })

const log = mapping(
  {
    connections: z
      .boolean({ error: 'true or false' })
      .optional()
      .meta({ description: 'Write down who came by which address to which service, on the hosts' }),
    metrics: matchingText(
      metricsPattern,
      'a path such as /var/lib/prometheus/node-exporter/fleetmove.prom, or unix:/run/fleetmove.sock',
    )
      .optional()
      .meta({ description: 'Figures for Prometheus on every host: a text file, or a unix socket' }),
  },
  'a mapping with connections and metrics',
)

export const fleetEntry = mapping(
  {
    fleet: name,
    hosts: named(host, 'hosts'),
    tunnel: tunnel.prefault({}),
    services: named(service, 'services'),
    dns: dns.prefault({}),
    log: log.optional(),
    vantages: z.record(name, vantage, { error: 'a mapping of names to vantages' }).optional(),
  },
  'a mapping with fleet, hosts and services',
)

/** The parts that other parts refer to, each to be read by itself where the file as a whole isn't sound. */
export const entries = { host, service, tunnel }

export type FleetEntry = z.output<typeof fleetEntry>
export type HostEntry = z.output<typeof host>
export type ServiceEntry = z.output<typeof service>
export type TunnelEntry = z.output<typeof tunnel>

/** The JSON Schema (draft 2020-12) of fleet.yaml, for editors. */
export function fleetSchema(): object {
  return { ...z.toJSONSchema(fleetEntry, { io: 'input' }), title: 'fleet.yaml of fleetmove' }
}
