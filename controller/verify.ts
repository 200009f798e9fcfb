/**
 * Proof that the path works and that the source address survives: probes from this machine and from
 * every vantage to every ingress address, and a look at the real listener.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { hostPort, type Ip } from '../proto/model/address.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { Protocol } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import type { FlowEvidence, ProbeResult, Receipt } from '../proto/model/probe.js'
import { isMailPort } from '../proto/model/relay.js'
import type { Running } from './agents/agent.js'
import type { Wanted } from './change.js'
import type { Service } from './config/fleet.js'
import { inParallel } from './in-parallel.js'
import { journal } from './journal.js'
import { patient } from './patience.js'
import { type Path, pathsOf, triedListeners } from './plan/probe-paths.js'
import type { OpenRelay, Untested } from './plan/relay-verdict.js'
import { type Verdict, type VerdictInput, verdict } from './plan/verdict.js'
import { type Prober, probersOf } from './probers.js'
import { type RecordedProof, recorded } from './record.js'
import { proveNoRelay } from './relay.js'
import { selectServices } from './select-services.js'
import { refuseUntied } from './untied.js'
import { agentOf, type Context, type World, withWorld } from './world.js'

export interface Proof {
  service: Name
  /** `this machine`, or a vantage. */
  prober: string
  /** The host whose public address was used. */
  ingress: Name
  address: Ip
  protocol: Protocol
  port: number
  /**
   * `probe` goes to a listener of ours beside the service's, `listener` to the service itself; `relay` asks a mail
   * server by its listener whether it relays for strangers.
   */
  what: 'probe' | 'listener' | 'relay'
  /** Bytes each way; 0 for a listener, which is only connected to. */
  bytes: number
  /** `untested`: this prober has no way to that family of addresses at all, or a firewall closes the probe ports. */
  verdict: Verdict | Untested | OpenRelay
  receipt: Receipt | undefined
}

export interface Verification {
  proofs: Proof[]
}

/** One that fits every path, and one above 2 kB: a modern ClientHello has about 1,900 bytes. */
const sizes = [64, 2200]
const probeMs = 5000
const holdMs = 3000
/** A receipt travels by another way than the answer to its probe. */
const receiptMs = 1000
/** Each probe is a socket here, and one on each host that it crosses. */
const atOnce = 16
/** Of one path: of a service with a hundred of them each is asked after on the host that answers. */
const listenersAtOnce = 4

export async function verify(context: Context, names: readonly string[]): Promise<Verification> {
  const services = selectServices(context.fleet, names)
  const look = () => withWorld(context, (world) => verifyNamed(world, services))
  return recorded(context, `verify ${names.join(' ')}`.trim(), look, ({ proofs }) =>
    proofs.some((proof) => isFailure(proof.verdict)) ? 'verify' : 'done',
  )
}

async function verifyNamed(world: World, services: readonly Service[]): Promise<Verification> {
  const planned = services.filter((service) => world.states.get(service.name)?.stage === 'planned')
  if (planned.length > 0) {
    throw new FleetmoveError('gate', {
      message: `nothing is set up yet for ${planned.map((service) => service.name).join(', ')}`,
      hint: 'run `fleetmove up` first',
    })
  }
  refuseUntied(world, services, world)
  return verifyServices(world, services, world)
}

/** Verifies services as they stand in `wanted`, which may still be on trial. */
export async function verifyServices(
  world: World,
  services: readonly Service[],
  { states, pairs }: Wanted,
): Promise<Verification> {
  const begun = performance.now()
  const end = world.progress.begin(services.map((service) => service.name).join(' '), 'verify')
  try {
    const paths = services.flatMap((service) =>
      pathsOf({ fleet: world.fleet, locals: world.locals, states, pairs }, service),
    )
    const probers = probersOf(world)
    for (const service of services) {
      const listeners = service.listen.filter(({ protocol }) => protocol === 'tcp').length
      const tried = triedListeners(service).length
      if (tried < listeners) world.progress.note(service.name, `${tried} of its ${listeners} TCP listeners are tried`)
    }
    const witnesses = await Witnesses.open(world, paths, probers.length)
    try {
      const jobs = probers.flatMap((prober) => paths.map((path) => ({ prober, path })))
      const proofs = (
        await inParallel(jobs, ({ prober, path }) => provePath(world, witnesses, prober, path), atOnce)
      ).flat()
      await remember(world, services, proofs, Math.ceil(performance.now() - begun))
      const bad = proofs.filter((proof) => isFailure(proof.verdict)).length
      end(bad === 0 ? `${proofs.length} proofs` : `failed: ${bad} of ${proofs.length} proofs`)
      return { proofs }
    } finally {
      witnesses.close()
    }
  } catch (error) {
    end('failed')
    throw error
  }
}

export const isFailure = (verdict: Proof['verdict']): boolean =>
  verdict.kind !== 'preserved' && verdict.kind !== 'untested'

/** @throws FleetmoveError 'verify' that names the first failures and says what became of the change. */
export function assertVerified({ proofs }: Verification, consequence: string): void {
  const bad = proofs.filter((proof) => isFailure(proof.verdict))
  if (bad.length === 0) return
  const told = bad.slice(0, 3).map(proofText)
  throw new FleetmoveError('verify', {
    message: `${bad.length} of ${proofs.length} proofs failed; ${consequence}: ${told.join('; ')}${bad.length > 3 ? '; …' : ''}`,
    hint: 'mend the cause that is named, and run the command again',
  })
}

const proofText = (proof: Proof): string =>
  `${proof.protocol} ${hostPort(proof.address, proof.port)} (${proof.ingress}) from ${proof.prober}: ${proof.verdict.kind}, ${proof.verdict.cause}`

async function provePath(world: World, witnesses: Witnesses, prober: Prober, path: Path): Promise<Proof[]> {
  const straight = await witnesses.send(prober, path.active.host, {
    protocol: path.protocol,
    address: path.active.public,
    port: path.probePort + 1,
    bytes: sizes[0]!,
  })
  const proof = (
    part: Pick<Proof, 'ingress' | 'address' | 'port' | 'what' | 'bytes' | 'verdict' | 'receipt'>,
  ): Proof => ({
    service: path.service.name,
    prober: prober.name,
    protocol: path.protocol,
    ...part,
  })
  const judge = (
    port: number,
    result: ProbeResult,
    bytes: number,
    rest: Partial<VerdictInput>,
    throughTunnel = !path.direct,
  ): Verdict | Untested => {
    if (straight.reply.outcome === 'error' && result.outcome === 'error')
      return { kind: 'untested', cause: result.detail }
    return verdict({
      spec: {
        protocol: path.protocol,
        address: throughTunnel || path.direct ? path.ingress.public : path.active.public,
        port,
        connectOnly: false,
        bytes,
      },
      result,
      receipt: null,
      straight: straight.receipt ?? null,
      flow: null,
      forwarder: {
        name: path.direct ? path.service.from : path.ingress.host,
        addresses: [path.ingress.public, path.ingress.local, ...path.tunnelAddresses],
      },
      origin: { name: path.active.host },
      throughTunnel,
      ...rest,
    })
  }
  const probes: Proof[] = []
  // Where the old host still had the address, it would refuse this one.
  const ingressPort = path.probePort + (path.direct ? 1 : 0)
  // Of a port that a firewall closes, the second size would only cost another wait.
  let filtered = isSilent(straight)
  for (const bytes of sizes) {
    if (filtered && probes.length > 0) break
    const sent = await witnesses.send(prober, path.active.host, {
      protocol: path.protocol,
      address: path.ingress.public,
      port: ingressPort,
      bytes,
    })
    filtered &&= isSilent(sent)
    const { reply, receipt } = sent
    probes.push(
      proof({
        ingress: path.ingress.host,
        address: path.ingress.public,
        port: ingressPort,
        what: 'probe',
        bytes,
        receipt,
        verdict: judge(ingressPort, reply, bytes, { receipt: receipt ?? null }),
      }),
    )
  }
  const tried = path.listeners.flatMap((listener) => [path.ingress, path.active].map((side) => ({ ...listener, side })))
  const listeners = await inParallel(
    tried,
    async ({ port, forwardedPort, redirected, side }): Promise<Proof> => {
      const through = side === path.ingress
      const forwarded = through && !path.direct && !redirected
      const answering = through && redirected ? path.ingress : path.active
      const { reply, flow } = await proveListener(
        world,
        prober,
        answering.host,
        { public: side.public, local: through && (path.direct || redirected) ? side.local : path.active.local },
        port,
        forwarded ? forwardedPort : port,
        straight,
      )
      const spec = { protocol: path.protocol, address: side.public, port, connectOnly: true, bytes: 0 }
      return proof({
        ingress: side.host,
        address: side.public,
        port,
        what: 'listener',
        bytes: 0,
        receipt: undefined,
        verdict: judge(port, reply, 0, { spec, flow, origin: { name: answering.host } }, forwarded),
      })
    },
    listenersAtOnce,
  )
  const relays = await inParallel(
    path.listeners.filter(({ port }) => isMailPort(port)),
    async ({ port, forwardedPort }): Promise<Proof> => {
      const { host, public: address } = path.ingress
      const spec = { protocol: 'tcp', address, port, connectOnly: true, bytes: 0 } as const
      const verdict = await proveNoRelay(world, {
        prober,
        path,
        port,
        forwardedPort,
        expected: straight.receipt?.source,
        judge: (reply, flow) => judge(port, reply, 0, { spec, flow }),
      })
      return proof({ ingress: host, address, port, what: 'relay', bytes: 0, receipt: undefined, verdict })
    },
  )
  // The service itself is decisive: probe ports are there only for what it can't tell.
  if (filtered && listeners.length > 0 && listeners.every(({ verdict }) => verdict.kind === 'preserved')) {
    const ports = `${path.protocol} ports ${path.probePort} and ${path.probePort + 1}`
    const cause = `the probe ${ports} are filtered, straight to ${path.active.host} as well as by ${path.ingress.host} (${straight.reply.detail}), while the service itself answers by both; whether large packets pass is not known`
    return [
      ...probes.map((each): Proof => ({ ...each, verdict: { kind: 'untested', cause } })),
      ...listeners,
      ...relays,
    ]
  }
  return [...probes, ...listeners, ...relays]
}

/** Neither an answer nor a trace of it on the host that answers. */
const isSilent = ({ reply, receipt }: Sent): boolean =>
  receipt === undefined && (reply.outcome === 'timeout' || reply.outcome === 'refused')

interface Sent {
  reply: ProbeResult
  receipt: Receipt | undefined
}

/** Connects to the real listener and looks for the connection on the host that answers while it stands. */
async function proveListener(
  world: World,
  prober: Prober,
  host: Name,
  address: { public: Ip; local: Ip },
  port: number,
  seenPort: number,
  straight: Sent,
): Promise<{ reply: ProbeResult; flow: FlowEvidence }> {
  const connection = prober.hold({
    protocol: 'tcp',
    address: address.public,
    port,
    token: randomBytes(16),
    bytes: 0,
    timeoutMs: patient(world, probeMs),
    connectOnly: true,
    holdMs: patient(world, holdMs),
  })
  const connected = await connection.connected
  const client = (straight.receipt?.source ?? connected?.source) as Ip | '' | undefined
  const none: FlowEvidence = { found: false, evidence: '', tunnel: 0, detail: 'there was no connection to look for' }
  // Behind a translator the port is another one there, so only the address can be asked for.
  const translated = connected?.source !== client
  const flow =
    client === undefined || client === '' || connected === null
      ? none
      : ((await agentOf(world, host).findFlow({
          protocol: 'tcp',
          address: address.local,
          port: seenPort,
          client,
          clientPort: translated ? 0 : connected.sourcePort,
          timeoutMs: patient(world, holdMs) - 500,
        })) as FlowEvidence)
  connection.close()
  return { reply: await connection.result, flow }
}

/** The agents of the active hosts, listening for probes and handing in what they see. */
class Witnesses {
  private readonly receipts = new Map<string, Receipt>()
  private readonly running: Running[] = []
  private readonly unused = new Map<Name, Buffer[]>()

  private constructor(
    private readonly probeMs: number,
    private readonly receiptMs: number,
  ) {}

  static async open(world: World, paths: readonly Path[], probers: number): Promise<Witnesses> {
    const witnesses = new Witnesses(patient(world, probeMs), patient(world, receiptMs))
    const hosts = new Set(paths.map((path) => path.active.host))
    await inParallel(hosts, async (host) => {
      const own = paths.filter((path) => path.active.host === host)
      const ports = [...new Set(own.flatMap((path) => [path.probePort, path.probePort + 1]))]
      const tokens = Array.from({ length: own.length * probers * (sizes.length + 1) }, () => randomBytes(16))
      witnesses.unused.set(host, [...tokens])
      const running = await agentOf(world, host).witness(ports, tokens, (receipt) => {
        const key = Buffer.from(receipt.token).toString('hex')
        // Of a probe that is sent several times, the whole one counts.
        const known = witnesses.receipts.get(key)
        if (!known || known.bytes < receipt.bytes) witnesses.receipts.set(key, receipt as unknown as Receipt)
      })
      witnesses.running.push(running)
    })
    return witnesses
  }

  async send(
    prober: Prober,
    host: Name,
    to: { protocol: Protocol; address: Ip; port: number; bytes: number },
  ): Promise<Sent> {
    const token = this.unused.get(host)?.pop()
    if (!token) throw new Error(`no token left for ${host}`)
    const reply = await prober.send({ ...to, token, timeoutMs: this.probeMs, connectOnly: false, holdMs: 0 })
    const key = token.toString('hex')
    const deadline = performance.now() + this.receiptMs
    while (reply.outcome === 'answered' && !this.receipts.has(key) && performance.now() < deadline) await delay(5)
    return { reply, receipt: this.receipts.get(key) }
  }

  close(): void {
    for (const running of this.running) running.stop()
  }
}

function recordedProof({ verdict, receipt, service: _service, ...proof }: Proof): RecordedProof {
  if (!receipt) return { ...proof, ...verdict }
  const { source, sourcePort, destination, destinationPort, bytes } = receipt
  return { ...proof, ...verdict, receipt: { source, sourcePort, destination, destinationPort, bytes } }
}

async function remember(
  world: World,
  services: readonly Service[],
  proofs: readonly Proof[],
  tookMs: number,
): Promise<void> {
  for (const service of services) {
    const own = proofs.filter((proof) => proof.service === service.name)
    const preserved = own.filter((proof) => proof.verdict.kind === 'preserved').length
    const sources = [...new Set(own.flatMap((proof) => (proof.receipt ? [proof.receipt.source] : [])))]
    await journal(world.fleet, {
      type: 'proof',
      service: service.name,
      ok: !own.some((proof) => isFailure(proof.verdict)),
      preserved,
      total: own.length,
      probers: sources,
      tookMs,
    })
    world.record.add({ type: 'proofs', service: service.name, proofs: own.map(recordedProof) })
  }
}
