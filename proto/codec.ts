/**
 * Between the wire and the model. Every check of what another process sends stands here: behind
 * `decode*` all names, addresses and numbers are safe to put into a ruleset, a path or argv.
 */
import { z } from 'zod'
import type * as wire from './gen/fleetmove.js'
import { familyOf, type Ip } from './model/address.js'
import { FleetmoveError } from './model/error.js'
import {
  containerPattern,
  type Egress,
  type ForwardAction,
  forwardOf,
  type HostLog,
  type HostSpec,
  type MovedAddress,
  metricsPattern,
  type ServeAction,
  type ServiceRoute,
  type ServiceSpec,
  serveOf,
  type TunnelSpec,
  unitPattern,
} from './model/host-spec.js'
import type { Name } from './model/names.js'
import { type Parsed, parseHostIp, parseIp, parseName, parsePrefix, parseRedirect } from './parse.js'

const parsedBy = <T>(parse: (text: string) => Parsed<T>) =>
  z.string().transform((text, context): T => {
    const parsed = parse(text)
    if (parsed.ok) return parsed.value
    context.addIssue({ code: 'custom', message: `found ${parsed.found}, allowed: ${parsed.allowed}` })
    return z.NEVER
  })

export const ip = parsedBy<Ip>(parseIp)
/** An address that one host can have. */
export const hostIp = parsedBy<Ip>(parseHostIp)
export const name = parsedBy<Name>(parseName)
export const port = z.int().min(1).max(65535)
const portOr0 = z.int().min(0).max(65535)
export const protocol = z.enum(['tcp', 'udp'])
const stage = z.enum(['planned', 'forwarding', 'moving', 'moved', 'finalized'])
/** IFNAMSIZ leaves 15 characters; what may stand in nft quotes and in /proc/sys paths. */
const device = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/)
/** What agents call the devices that they make. */
const ownDevice = /^fmw?\d+$/
const generation = z.int().min(1)
/** 63 fit into the byte of the mark that is ours. */
const tunnelIndex = z.int().min(1).max(63)
export const bytes = (min: number, max: number) =>
  z.instanceof(Uint8Array).refine((value) => value.length >= min && value.length <= max, `${min} to ${max} bytes`)

/**
 * A check across fields. A transform, because zod runs refinements also on a value whose inner parts
 * have failed, and then those parts aren't what their type says.
 */
const checked = <T>(
  schema: z.ZodType<T>,
  check: (value: T, fail: (message: string, ...path: string[]) => void) => void,
) =>
  schema.transform((value, context): T => {
    check(value, (message, ...path) => context.addIssue({ code: 'custom', message, path }))
    return value
  })

const portRange = checked(z.object({ from: port, to: port }), (range, fail) => {
  if (range.from > range.to) fail('from must not be above to')
})

function actionOf(
  forward: Omit<ForwardAction, 'kind'> | undefined,
  serve: Omit<ServeAction, 'kind'> | undefined,
  pause: boolean,
  redirect: boolean,
): ServiceRoute['action'] | null {
  if (pause || redirect) return forward || serve || pause === redirect ? null : { kind: pause ? 'pause' : 'redirect' }
  if (forward && serve) return { kind: 'split', forward, serve }
  if (forward) return { kind: 'forward', ...forward }
  return serve ? { kind: 'serve', ...serve } : null
}

/** proto3 has no required messages: an absent one is undefined. */
const route = z
  .object({
    protocol,
    address: hostIp,
    ports: portRange,
    forward: z.object({ tunnel: tunnelIndex, to: hostIp, port: portOr0 }).optional(),
    serve: z.object({ port: portOr0 }).optional(),
    pause: z.boolean(),
    redirect: z.boolean().default(false),
    helper: z.enum(['', 'ftp']).default(''),
  })
  .transform((value, context): ServiceRoute => {
    const { protocol, address, ports, forward, serve, pause, redirect, helper } = value
    const fail = (message: string): never => {
      context.addIssue({ code: 'custom', message })
      return z.NEVER
    }
    const action = actionOf(forward, serve, pause, redirect)
    if (action === null) return fail('needs forward, serve, or both; or pause or redirect alone')
    if (redirect && protocol !== 'tcp') return fail('a redirect needs tcp')
    const others = [forward?.port ?? 0, serve?.port ?? 0]
    if (others.some((each) => each !== 0) && ports.from !== ports.to)
      return fail('another port needs a single port, not a range')
    if (forward && familyOf(forward.to) !== familyOf(address)) return fail('families differ')
    if (helper !== '' && protocol !== 'tcp') return fail('a helper needs tcp')
    return { protocol, address, ports, action, ...(helper ? { helper } : {}) }
  })

const tunnel = checked(
  z.object({
    index: tunnelIndex,
    peer: name,
    driver: z.enum(['openvpn', 'wireguard-l2', 'wireguard', 'direct']),
    userspace: z.boolean(),
    role: z.enum(['server', 'client']),
    port,
    remote: hostIp,
    /** RFC 8200, 5: with less the device has no IPv6; the upper limit is that of an IP packet. */
    mtu: z.int().min(1280).max(65535),
    local4: hostIp,
    peer4: hostIp,
    local6: ip,
    peer6: ip,
    peerIdentity: z.string(),
    device: z.union([device, z.literal('')]),
    peerAddresses: z.array(hostIp).max(256),
    probe: z.object({
      port: z.int().min(1).max(65534),
      pairs: z.array(z.object({ local: hostIp, peer: hostIp })).max(256),
    }),
    unreachable: z.enum(['', 'reset']).default(''),
  }),
  (value, fail) => {
    const { driver, peerIdentity: identity } = value
    // 32 bytes in base64; SHA-256 in hex with colons. Both end up in a configuration file.
    if (driver.startsWith('wireguard') && !/^[A-Za-z0-9+/]{43}=$/.test(identity))
      fail('no WireGuard public key', 'peerIdentity')
    if (driver === 'openvpn' && !/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/.test(identity))
      fail('no SHA-256 fingerprint', 'peerIdentity')
    if (driver === 'direct' && (identity !== '' || value.device === ''))
      fail('direct needs a device and no identity', 'device')
    if (driver === 'direct' && ownDevice.test(value.device))
      fail(`${value.device} is a name of our own devices`, 'device')
    if (driver !== 'direct' && value.device !== '') fail('only direct names a device', 'device')
    for (const [key, family] of [
      ['local4', 4],
      ['peer4', 4],
      ['local6', 6],
      ['peer6', 6],
    ] as const) {
      if (familyOf(value[key]) !== family) fail(`no IPv${family} address`, key)
      // A link that is there already may have no other IPv6 addresses than its link-local ones.
      else if (!(driver === 'direct' && value[key].startsWith('fe80:'))) {
        const parsed = parseHostIp(value[key])
        if (!parsed.ok)
          fail(`found ${parsed.found}, allowed: ${parsed.allowed}; link-local with only driver direct`, key)
      }
    }
    if (value.probe.pairs.some((pair) => familyOf(pair.local) !== familyOf(pair.peer))) fail('families differ', 'probe')
  },
)

const withoutDefaults = ({ unreachable, ...rest }: z.output<typeof tunnel>): TunnelSpec => ({
  ...rest,
  ...(unreachable ? { unreachable } : {}),
})

/** A user's name as useradd(8) allows it, or a number. */
const user = z.string().regex(/^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,10})$/)
const egress = z
  .object({
    tunnel: tunnelIndex,
    uid: z.union([user, z.literal('')]),
    source: z.union([z.literal(''), parsedBy(parsePrefix)]),
    unit: z.union([z.literal(''), z.string().regex(unitPattern)]).default(''),
    container: z.union([z.literal(''), z.string().regex(containerPattern)]).default(''),
    listeners: z.boolean().default(false),
  })
  .transform(
    ({ tunnel, uid, source, unit, container, listeners }): Egress => ({
      tunnel,
      ...(uid ? { uid } : {}),
      ...(source ? { source } : {}),
      ...(unit ? { unit } : {}),
      ...(container ? { container } : {}),
      ...(listeners ? { listeners } : {}),
    }),
  )

/** What a service may lack is absent, and not undefined: equal specs are to be deeply equal. */
const service = z
  .object({
    name,
    stage,
    from: name,
    to: name,
    active: name,
    canary: z
      .object({
        perMille: z.int().min(0).max(999),
        seed: z.int().min(0).max(0xffffffff),
        prefixes: z.array(parsedBy(parsePrefix)).max(64),
      })
      .optional()
      .transform((value) => value ?? null),
    routes: z.array(route).max(4096),
    localhost: z.boolean().default(false),
    egress: egress.optional(),
    dark: z.object({ host: name, port }).optional(),
    address: z.enum(['', 'moved', 'returning']).default(''),
    redirect: z.object({ port, to: parsedBy(parseRedirect) }).optional(),
  })
  .transform(
    ({ localhost, egress, dark, address, redirect, ...rest }): ServiceSpec => ({
      ...rest,
      ...(localhost ? { localhost } : {}),
      ...(egress ? { egress } : {}),
      ...(dark ? { dark } : {}),
      ...(address ? { address } : {}),
      ...(redirect ? { redirect } : {}),
    }),
  )

const log = z
  .object({ connections: z.boolean(), metrics: z.union([z.literal(''), z.string().max(100).regex(metricsPattern)]) })
  .transform(({ connections, metrics }): HostLog | undefined =>
    connections || metrics
      ? { ...(connections ? { connections: true } : {}), ...(metrics ? { metrics } : {}) }
      : undefined,
  )

const ipOrNone = z.union([z.literal(''), hostIp])
const movedAddress = z
  .object({
    address: hostIp,
    as: z.enum(['taken', 'silent', 'returned', 'settled']),
    own: ipOrNone,
    aside: ipOrNone,
  })
  .transform(({ address, as, own, aside }, context): MovedAddress => {
    const fail = (message: string): never => {
      context.addIssue({ code: 'custom', message })
      return z.NEVER
    }
    if ([own, aside].some((other) => other !== '' && familyOf(other) !== familyOf(address)))
      return fail('families differ')
    if ([own, aside].includes(address)) return fail('an address cannot stand in for itself')
    if (as === 'taken') return own === '' || aside === '' ? fail('needs own and aside') : { address, as, own, aside }
    if (own !== '') return fail('only a taken address has own')
    if (as === 'returned') return aside === '' ? fail('needs aside') : { address, as, aside }
    return aside === '' ? { address, as } : fail(`${as} has no aside`)
  })

const hostSpec = checked(
  z
    .object({
      fleet: name,
      host: name,
      generation,
      tunnels: z.array(tunnel.transform(withoutDefaults)).max(63),
      services: z.array(service).max(10_000),
      log: log.optional(),
      addresses: z.array(movedAddress).max(256).default([]),
    })
    .transform(
      ({ log, addresses, ...rest }): HostSpec => ({
        ...rest,
        ...(log ? { log } : {}),
        ...(addresses.length > 0 ? { addresses } : {}),
      }),
    ),
  (value, fail) => {
    const indices = new Set(value.tunnels.map((each) => each.index))
    if (indices.size !== value.tunnels.length) fail('two tunnels with one index')
    if (new Set(value.services.map((each) => each.name)).size !== value.services.length)
      fail('two services with one name')
    let ports = 0
    for (const each of value.services) {
      if (each.egress && !indices.has(each.egress.tunnel)) fail(`${each.name}: no tunnel ${each.egress.tunnel}`)
      for (const { action, ports: range } of each.routes) {
        ports += range.to - range.from + 1
        const forward = forwardOf(action)
        if (forward && !indices.has(forward.tunnel)) fail(`${each.name}: no tunnel ${forward.tunnel}`)
        if (action.kind === 'redirect' && !each.redirect) fail(`${each.name}: nothing to redirect to`)
        if (action.kind === 'split' && each.canary === null) fail(`${each.name}: a split route without a canary`)
      }
    }
    // Each port is an element of a map in the kernel: about 100 bytes.
    if (ports > 1_000_000) fail(`${ports} ports are more than 1,000,000`)
    if (new Set(value.addresses?.map((each) => each.address)).size !== (value.addresses?.length ?? 0))
      fail('an address that moves in two ways')
    const twice = takenTwice(value)
    if (twice) fail(twice)
  },
)

/** The kernel's map has one element for an address, protocol and port, and refuses a second. */
function takenTwice(spec: HostSpec): string | undefined {
  const claims = spec.services.flatMap(({ name, routes }) =>
    routes.map(({ address, protocol, ports }) => ({
      by: name as string,
      where: `${protocol} ${address}`,
      address,
      protocol,
      ports,
    })),
  )
  for (const { probe } of spec.tunnels) {
    for (const { local } of probe.pairs) {
      for (const protocol of ['tcp', 'udp'] as const) {
        const ports = { from: probe.port, to: probe.port + 1 }
        claims.push({ by: 'the probes', where: `${protocol} ${local}`, address: local, protocol, ports })
      }
    }
  }
  // The probes' claims were pushed last and the sort is stable: of two that begin alike the service is named first.
  claims.sort((x, y) => (x.where === y.where ? x.ports.from - y.ports.from : x.where < y.where ? -1 : 1))
  let before: (typeof claims)[number] | undefined
  for (const claim of claims) {
    if (before && claim.where === before.where && claim.ports.from <= before.ports.to) {
      const [service, other] = claim.by === 'the probes' ? [before, claim] : [claim, before]
      return `${service.by}: ${claim.protocol}/${claim.ports.from} of ${claim.address} is taken by ${other.by}`
    }
    before = claim
  }
  return undefined
}

/**
 * @throws FleetmoveError 'invalid' that names the field, what was found and what is allowed.
 */
export function decode<T>(what: string, schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issues = result.error.issues.slice(0, 5).map((issue) => `${[what, ...issue.path].join('.')}: ${issue.message}`)
  throw new FleetmoveError('invalid', {
    message: issues.join('; '),
    hint: 'the other side is of another version or not fleetmove: run `fleetmove up` with the version that set the hosts up',
  })
}

export const decodeHostSpec = (value: wire.HostSpec | undefined): HostSpec => decode('spec', hostSpec, value)

export const decodeServiceSpec = (value: unknown): ServiceSpec => decode('service', service, value)

export function encodeHostSpec(spec: HostSpec): wire.HostSpec {
  return {
    ...spec,
    log: spec.log && { connections: spec.log.connections ?? false, metrics: spec.log.metrics ?? '' },
    addresses: (spec.addresses ?? []).map((each) => ({ own: '', aside: '', ...each })),
    tunnels: spec.tunnels.map((each) => ({ ...each, unreachable: each.unreachable ?? '' })),
    services: spec.services.map(encodeServiceSpec),
  }
}

export const encodeServiceSpec = (each: ServiceSpec): wire.ServiceSpec => ({
  ...each,
  canary: each.canary ?? undefined,
  localhost: each.localhost ?? false,
  dark: each.dark,
  address: each.address ?? '',
  redirect: each.redirect,
  egress: each.egress && { uid: '', source: '', unit: '', container: '', listeners: false, ...each.egress },
  routes: each.routes.map(({ action, ...rest }) => ({
    ...rest,
    forward: forwardOf(action),
    serve: serveOf(action),
    pause: action.kind === 'pause',
    redirect: action.kind === 'redirect',
    helper: rest.helper ?? '',
  })),
})
