/** What each request must look like; everything else of it is refused before it is used. */
import { z } from 'zod'
import * as codec from '../proto/codec.js'
import { containerPattern } from '../proto/model/host-spec.js'
import { isMailPort } from '../proto/model/relay.js'

const token = codec.bytes(16, 64)
const probeToken = codec.bytes(16, 16)
const milliseconds = (max: number) => z.int().min(0).max(max)
const anHour = 3_600_000
/** What the operator wrote into fleet.yaml; it is run by a shell, that is its purpose. */
const text = z.string().max(65_536)

/** Absolute, nothing that climbs, nothing that ends a line of a configuration. */
const directory = z
  .string()
  .max(4096)
  .regex(/^(?!.*\/\.\.?(\/|$))(\/[^/\p{Cc}]+)+$/u)
/** As controller/lock.ts makes them. */
const lockId = z.string().regex(/^[0-9a-f]{12}$/)
/** It stands on the terminals of others. */
const printable = /^[^\p{Cc}]+$/u
const directories = z.array(directory).min(1).max(64)

const lifecycleMeans = z.object({
  // systemd.unit(5) and Docker's names; neither may look like an option.
  unit: z.string().regex(/^([A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]{0,254})?$/),
  container: z.string().regex(/^([A-Za-z0-9][A-Za-z0-9_.-]{0,254})?$/),
  composeFile: z.union([z.literal(''), directory]),
  composeService: z.union([z.literal(''), z.string().regex(containerPattern)]),
  start: text,
  stop: text,
  command: text,
})
const environment = z.record(z.string().regex(/^FLEETMOVE_[A-Z]{1,32}$/), z.string().max(1024))
const health = z.object({
  service: codec.name,
  kind: z.enum(['tcp', 'http', 'command']),
  url: z.string().max(4096),
  command: text,
  address: z.union([codec.ip, z.literal('')]),
  port: z.int().min(0).max(65535),
  timeoutMs: milliseconds(anHour),
})

export const requests = {
  identity: z.object({ kind: z.enum(['wireguard', 'openvpn']) }),
  reflect: z.object({ port: codec.port, token }),
  measurePath: z.object({ remote: codec.hostIp, port: codec.port, token, timeoutMs: milliseconds(60_000) }),
  confirmWithinMs: z.int().min(1000).max(anHour),
  generation: z.object({ generation: z.int().min(1) }),
  awaitTunnel: z.object({ tunnel: z.int().min(1).max(63), timeoutMs: milliseconds(anHour) }),
  status: z.object({ maxArrivals: z.int().min(0).max(65_536) }),
  witness: z.object({ ports: z.array(codec.port).min(1).max(126), tokens: z.array(probeToken).min(1).max(10_000) }),
  probe: z.object({
    protocol: codec.protocol,
    address: codec.ip,
    port: codec.port,
    token: probeToken,
    bytes: z.int().min(0).max(8192),
    timeoutMs: milliseconds(60_000),
    connectOnly: z.boolean(),
    holdMs: milliseconds(60_000),
  }),
  relay: z.object({
    address: codec.ip,
    port: codec.port.refine(isMailPort, 'not a port of a mail server'),
    timeoutMs: milliseconds(60_000),
    holdMs: milliseconds(60_000),
  }),
  findFlow: z.object({
    protocol: codec.protocol,
    address: codec.ip,
    port: codec.port,
    client: codec.ip,
    clientPort: z.int().min(0).max(65535),
    timeoutMs: milliseconds(60_000),
  }),
  lifecycle: z.object({
    service: codec.name,
    action: z.enum([
      'start',
      'stop',
      'before_move',
      'after_move',
      'on_rollback',
      'boot-state',
      'boot-on',
      'boot-off',
      'boot-as-found',
    ]),
    lifecycle: lifecycleMeans,
    environment,
    timeoutMs: milliseconds(anHour),
  }),
  health,
  gap: z.object({
    service: codec.name,
    id: z.string().regex(/^[0-9a-f]{16}$/),
    action: z.enum(['open', 'pause', 'extend', 'stop', 'start', 'yield', 'take', 'let-go', 'close']),
    plan: z
      .object({
        role: z.enum(['origin', 'target']),
        // codec.decodeServiceSpec reads them.
        stay: z.unknown(),
        next: z.unknown(),
        lifecycle: lifecycleMeans,
        environment,
        checks: z.array(health).max(4096),
        timeoutMs: milliseconds(anHour),
        tunnel: z.int().min(1).max(63),
        port: z.int().min(0).max(65535),
        secret: codec.bytes(32, 32),
      })
      .optional(),
    forMs: milliseconds(anHour),
    flag: z.boolean(),
    outcome: z.enum(['', 'origin', 'target', 'parked']),
  }),
  service: z.object({ service: codec.name }),
  drain: z.object({
    service: codec.name,
    addresses: z.array(codec.hostIp).max(256).default([]),
    withinMs: milliseconds(10_000),
  }),
  purgeUdp: z.object({ service: codec.name, settle: z.boolean() }),
  trace: z.object({
    client: codec.ip,
    clientPort: z.int().min(0).max(65535),
    protocol: codec.protocol,
    ports: z.array(codec.port).min(1).max(64),
    forMs: milliseconds(120_000),
  }),
  serveData: z.object({ service: codec.name, directories, tunnel: z.int().min(1).max(63), live: z.boolean() }),
  pullData: z.object({
    service: codec.name,
    directories,
    tunnel: z.int().min(1).max(63),
    port: codec.port,
    // As serve-data.ts makes them.
    user: z.string().regex(/^[0-9a-f]{16}$/),
    secret: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
    mode: z.enum(['live', 'final', 'check']),
    overwrite: z.boolean(),
    empty: z.array(directory).max(64),
    atUs: z.int().min(1),
  }),
  inspectData: z.object({ service: codec.name, directories }),
  lock: z.object({
    id: lockId,
    owner: z.string().max(256).regex(printable),
    command: z.string().max(1024).regex(printable),
    renew: z.boolean(),
  }),
  unlock: z.object({ id: lockId }),
  recordData: z.object({ service: codec.name, directories, atUs: z.int().min(1) }),
}
