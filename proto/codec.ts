/**
 * Between the wire and the model. Every check of what another process sends stands here: behind
 * `decode*` all names, addresses and numbers are safe to put into a ruleset, a path or argv.
 */
import { z } from 'zod'
import type * as wire from './gen/fleetmove.js'
import { familyOf, type Ip } from './model/address.js'
import { FleetmoveError } from './model/error.js'
import type { HostSpec, ServiceRoute } from './model/host-spec.js'
import type { Name } from './model/names.js'
import { type Parsed, parseHostIp, parseIp, parseName } from './parse.js'

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
const generation = z.int().min(1)
/** 63 fit into the byte of the mark that is ours. */
const tunnelIndex = z.int().min(1).max(63)
export const bytes = (min: number, max: number) =>
  z.instanceof(Uint8Array).refine((value) => value.length >= min && value.length <= max, `${min} to ${max} bytes`)

const portRange = z
  .object({ from: port, to: port })
  .refine((range) => range.from <= range.to, 'from must not be above to')

/** proto3 has no required messages: an absent one is undefined. */
const route = z
  .object({
    protocol,
    address: hostIp,
    ports: portRange,
    forward: z.object({ tunnel: tunnelIndex, to: hostIp, port: portOr0 }).optional(),
    serve: z.object({ port: portOr0 }).optional(),
  })
  .transform((value, context): ServiceRoute => {
    const { protocol, address, ports, forward, serve } = value
    const fail = (message: string): never => {
      context.addIssue({ code: 'custom', message })
      return z.NEVER
    }
    if ((forward === undefined) === (serve === undefined)) return fail('needs either forward or serve')
    const action = forward ? { kind: 'forward' as const, ...forward } : { kind: 'serve' as const, port: serve?.port ?? 0 }
    if (action.port !== 0 && ports.from !== ports.to) return fail('another port needs a single port, not a range')
    if (action.kind === 'forward' && familyOf(action.to) !== familyOf(address)) return fail('families differ')
    return { protocol, address, ports, action }
  })

const tunnel = z
  .object({
    index: tunnelIndex,
    peer: name,
    driver: z.enum(['openvpn', 'wireguard-l2', 'wireguard', 'direct']),
    userspace: z.boolean(),
    role: z.enum(['server', 'client']),
    port,
    remote: hostIp,
    /** RFC 791: every host takes 576; the upper limit is that of an IP packet. */
    mtu: z.int().min(576).max(65535),
    local4: hostIp,
    peer4: hostIp,
    // Driver direct: the link-local addresses of a link that is there already.
    local6: ip,
    peer6: ip,
    peerIdentity: z.string(),
    device: z.union([device, z.literal('')]),
    peerAddresses: z.array(hostIp).max(256),
    probe: z.object({
      port: z.int().min(1).max(65534),
      pairs: z.array(z.object({ local: hostIp, peer: hostIp })).max(256),
    }),
  })
  .superRefine((value, context) => {
    const fail = (path: string, message: string): void => context.addIssue({ code: 'custom', message, path: [path] })
    const identity = value.peerIdentity
    // 32 bytes in base64; SHA-256 in hex with colons. Both end up in a configuration file.
    if (value.driver.startsWith('wireguard') && !/^[A-Za-z0-9+/]{43}=$/.test(identity)) fail('peerIdentity', 'no WireGuard public key')
    if (value.driver === 'openvpn' && !/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/.test(identity)) fail('peerIdentity', 'no SHA-256 fingerprint')
    if (value.driver === 'direct' && (identity !== '' || value.device === '')) fail('device', 'direct needs a device and no identity')
    if (value.driver !== 'direct' && value.device !== '') fail('device', 'only direct names a device')
    for (const [key, family] of [['local4', 4], ['peer4', 4], ['local6', 6], ['peer6', 6]] as const) {
      if (familyOf(value[key]) !== family) fail(key, `no IPv${family} address`)
    }
    if (value.probe.pairs.some((pair) => familyOf(pair.local) !== familyOf(pair.peer))) fail('probe', 'families differ')
  })

const service = z.object({
  name,
  stage,
  from: name,
  to: name,
  active: name,
  routes: z.array(route).max(4096),
})

const hostSpec = z
  .object({
    fleet: name,
    host: name,
    generation,
    tunnels: z.array(tunnel).max(63),
    services: z.array(service).max(10_000),
  })
  .superRefine((value, context) => {
    const fail = (message: string): void => context.addIssue({ code: 'custom', message })
    const indices = new Set(value.tunnels.map((each) => each.index))
    if (indices.size !== value.tunnels.length) fail('two tunnels with one index')
    if (new Set(value.services.map((each) => each.name)).size !== value.services.length) fail('two services with one name')
    let ports = 0
    for (const each of value.services) {
      for (const { action, ports: range } of each.routes) {
        ports += range.to - range.from + 1
        if (action.kind === 'forward' && !indices.has(action.tunnel)) fail(`${each.name}: no tunnel ${action.tunnel}`)
      }
    }
    // Each port is an element of a map in the kernel: about 100 bytes.
    if (ports > 1_000_000) fail(`${ports} ports are more than 1,000,000`)
  })

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

export function encodeHostSpec(spec: HostSpec): wire.HostSpec {
  return {
    ...spec,
    services: spec.services.map((each) => ({
      ...each,
      routes: each.routes.map(({ action, ...rest }) => ({
        ...rest,
        forward: action.kind === 'forward' ? { tunnel: action.tunnel, to: action.to, port: action.port } : undefined,
        serve: action.kind === 'serve' ? { port: action.port } : undefined,
      })),
    })),
  }
}
