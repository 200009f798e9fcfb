/** Nonsense to every call of a real agent's socket: it lives on, and nothing of the host has changed. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Client, credentials, status } from '@grpc/grpc-js'
import { encodeHostSpec } from '../../proto/codec.js'
import { AgentService } from '../../proto/gen/fleetmove.js'
import { Random } from '../chaos/random.js'
import { forward, new4, old4, service, spec } from '../unit/agent/plan/specs.js'
import { addresses, DataHost } from './data-host.js'
import { until } from './namespace-host.js'

const program = join(__dirname, '..', '..', 'dist', 'agent', 'agent.cjs')
const reason =
  process.platform !== 'linux' || process.getuid?.() !== 0
    ? 'namespaces need root on Linux'
    : existsSync(program)
      ? undefined
      : `there is no ${program}: npm run build`
if (reason) console.warn(`Skipped: ${reason}`)
const here = reason ? describe.skip : describe

const long = Boolean(process.env.FLEETMOVE_LONG)
const perMethod = long ? 4000 : 24
const parallel = 8
/** Calls that do what they are told until they are cancelled. */
const deadlineMs = 200
jest.setTimeout(long ? 3_600_000 : 120_000)

type Method = (typeof AgentService)[keyof typeof AgentService]
const nasty = [
  '',
  '\0',
  '../../etc',
  'x"; flush ruleset; #',
  '$(reboot)',
  '-rf',
  'a'.repeat(70_000),
  '☃',
  '__proto__',
  '::',
  '0.0.0.0',
]
const numbers = [0, 1, 64, 65_536, 2 ** 31 - 1, 2 ** 32 - 1]
const bytes = (random: Random, length: number): Buffer =>
  Buffer.from(Array.from({ length }, () => Math.floor(random.next() * 256)))

/** Replaces leaves, at whatever depth, by others of the same wire type. */
function spoil(value: unknown, random: Random, share: number): unknown {
  if (Array.isArray(value)) {
    const copy = value.map((each) => spoil(each, random, share))
    return random.chance(share / 2) ? [...copy, ...copy] : copy
  }
  if (Buffer.isBuffer(value)) return random.chance(share) ? bytes(random, random.next() * 100) : value
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, spoil(each, random, share)]))
  if (!random.chance(share)) return value
  if (typeof value === 'string') return random.pick(nasty)
  if (typeof value === 'number') return random.pick(numbers)
  if (typeof value === 'boolean') return !value
  return value
}

/** Flips bits, tears, doubles. */
function damage(message: Buffer, random: Random): Buffer {
  const copy = Buffer.from(message)
  for (let flips = Math.floor(random.next() * 8); flips > 0 && copy.length > 0; flips--)
    copy[Math.floor(random.next() * copy.length)]! ^= 1 << Math.floor(random.next() * 8)
  const at = Math.floor(random.next() * copy.length)
  return random.pick([copy, copy.subarray(0, at), Buffer.concat([copy, copy.subarray(at)])])
}

here('an agent that is sent nonsense', () => {
  let host: DataHost
  let client: Client

  beforeAll(async () => {
    host = await DataHost.start('new', program)
    await host.host.sh(`ip link add eth0 type veth peer name eth1; ip link set eth0 up; ip link set eth1 up
ip addr add ${addresses.new.link}/24 dev eth0; ip addr add fd88::2/64 dev eth0 nodad`)
    await host.serve()
    // The kernel finishes its own link-local addresses a second after the link is up (RFC 4862, 5.4).
    await until('settled addresses', 10_000, async () => !(await host.host.sh('ip addr')).includes('tentative'))
    const channel = { 'grpc.default_authority': 'localhost', 'grpc.use_local_subchannel_pool': 1 }
    client = new Client(`unix:${host.socket}`, credentials.createInsecure(), channel)
  })
  afterAll(async () => {
    client?.close()
    await host?.end()
  })

  // Its peers are nobody: that a tunnel is silent it notes by itself, whatever it is sent, and loads a file for that.
  const state = async (): Promise<string> => (await listed()).replace(/^\tset silent \{\n(?:.*\n)*?\t\}\n/m, '')
  const listed = (): Promise<string> =>
    host.host.sh(
      'nft -s list ruleset; ip addr; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; sysctl -a 2>/dev/null | grep "^net.ipv[46].conf"; find /run /var/lib -type f | grep -v -e agent -e ^/run/fleetmove/tools- -e ^/run/fleetmove/ruleset- | sort',
    )

  /** @returns the code of the answer; 'open' where it went on until it was cancelled. */
  const send = (method: Method, message: Buffer): Promise<string> =>
    new Promise((resolve) => {
      const pass = (value: Buffer): Buffer => value
      const call = client.makeBidiStreamRequest(method.path, pass, pass, { deadline: Date.now() + deadlineMs })
      call.on('data', () => {})
      call.on('error', () => {})
      // What protobuf itself can't read is refused by gRPC; any other INTERNAL would be an error that nobody expected.
      call.on('status', ({ code, details }) =>
        resolve(
          code === status.INTERNAL && !/deserializ|illegal|index out of range|invalid/i.test(details)
            ? `${method.path}: ${details}`
            : status[code]!,
        ),
      )
      call.write(message)
      call.end()
    })

  test('answers with refusals, and neither dies nor changes anything', async () => {
    const agent = host.agent
    const { confirmed, generation } = await agent.hello()
    const before = await state()
    const random = new Random(process.env.FLEETMOVE_SEED ?? 'wire')
    const valid = encodeHostSpec({
      ...spec(
        confirmed!.tunnels,
        [service('web', [forward(['tcp', 443], { local: new4, peer: old4 })])],
        generation + 1,
      ),
      ...{ fleet: confirmed!.fleet, host: confirmed!.host },
    })
    /** What a message of the call may look like; what would be lawful and change something has one fault for sure. */
    const samples: Partial<Record<keyof typeof AgentService, () => object>> = {
      plan: () => ({ spec: spoil(valid, random, 0.1) }),
      apply: () => ({
        spec: { ...(spoil(valid, random, 0.1) as object), generation: 0 },
        confirmWithinMs: 1000,
      }),
      confirm: () => ({ generation: generation + 7 }),
      revert: () => ({ generation: generation + 7 }),
      leave: () => ({ generation: random.pick([0, generation]) }),
      identity: () => ({ kind: random.pick(nasty) }),
      awaitTunnel: () => spoil({ tunnel: 9, timeoutMs: 100 }, random, 0.5) as object,
      status: () => ({ maxArrivals: random.pick(numbers) }),
      findFlow: () =>
        spoil(
          { protocol: 'tcp', address: '198.51.100.10', port: 80, client: '198.18.0.11', clientPort: 0, timeoutMs: 50 },
          random,
          0.3,
        ) as object,
      probe: () =>
        spoil(
          {
            protocol: 'tcp',
            address: addresses.new.link,
            port: 9,
            token: bytes(random, 16),
            bytes: 10,
            timeoutMs: 50,
            connectOnly: false,
            holdMs: 0,
          },
          random,
          0.3,
        ) as object,
      witness: () => spoil({ ports: [52_820], tokens: [bytes(random, 16)] }, random, 0.4) as object,
      drain: () => ({
        service: random.pick(nasty),
        addresses: [random.pick(nasty)],
        withinMs: random.pick(numbers),
      }),
      gap: () => {
        const [role, action] = [
          random.pick(['origin', 'target', '']),
          random.pick(['open', 'pause', 'extend', 'stop', 'start', 'yield', 'take', 'let-go', 'close', 'x']),
        ]
        const lifecycle = { unit: '', container: '', start: random.pick(nasty), stop: '', command: '' }
        const [stay] = valid.services
        const plan = spoil(
          {
            ...{ role, stay, next: stay, lifecycle, environment: {}, checks: [], timeoutMs: 100, tunnel: 9, port: 0 },
            secret: bytes(random, 32),
          },
          random,
          0.1,
        )
        return {
          ...{ service: random.pick([...nasty, 'web']), id: random.pick(['0123456789abcdef', 'x']), action, plan },
          ...{ forMs: random.pick(numbers), flag: true, outcome: random.pick(['', 'origin', 'target', 'parked']) },
        }
      },
      lifecycle: () => ({
        service: random.pick(nasty),
        action: 'start',
        lifecycle: undefined,
        environment: {},
        timeoutMs: 100,
      }),
      lock: () => spoil({ id: '0123456789ab', owner: 'me', command: 'x', renew: false }, random, 0.6) as object,
    }
    const answers = new Map<string, number>()
    const jobs = (Object.keys(AgentService) as (keyof typeof AgentService)[]).flatMap((name) =>
      Array.from({ length: perMethod }, (_, i) => [name, i] as const),
    )
    const worker = async (): Promise<void> => {
      for (let job = jobs.shift(); job; job = jobs.shift()) {
        const [name, i] = job
        const method: Method = AgentService[name]
        const sample = samples[name]
        const encode = method.requestSerialize as (value: object) => Buffer
        // Two bytes may be a lawful Leave.
        const message =
          !sample || (i % 3 === 0 && name !== 'leave') ? bytes(random, random.next() * 300) : encode(sample())
        // A damaged message of a call that acts may be lawful by chance.
        const harmless = ['plan', 'status', 'findFlow', 'identity'].includes(name)
        const answer = await send(method, harmless && i % 3 === 2 ? damage(message, random) : message)
        answers.set(answer, (answers.get(answer) ?? 0) + 1)
      }
    }
    await Promise.all(Array.from({ length: parallel }, worker))
    // It is the same process still, and takes calls.
    expect(await agent.hello()).toMatchObject({ confirmed, generation, trial: null })
    expect(await state()).toBe(before)
    expect(host.said).not.toMatch(/Error:|unhandled|at .*agent\.cjs:\d+/i)
    console.info([...answers].map(([code, count]) => `${code} ${count}`).join(', '))
    expect(answers.get('INVALID_ARGUMENT')).toBeGreaterThan(perMethod)
    expect([...answers.keys()].filter((code) => code.includes('/') || code === 'UNAVAILABLE')).toEqual([])
  })
})
