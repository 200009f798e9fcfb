/** Everything that is wrong is named, with what to do, before anything is changed anywhere. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { credentials, type ServiceError, status } from '@grpc/grpc-js'
import { AgentClient, type HelloReply, type HostSpec } from '../../proto/gen/fleetmove.js'
import { type Ended, Practice, withRoot } from './practice.js'

jest.setTimeout(300_000)

const hosts = {
  old1: { ssh: 'root@203.0.113.10', addresses: ['203.0.113.10', '2001:db8:a::10'] },
  new1: { ssh: 'root@198.51.100.10', addresses: ['198.51.100.10', '2001:db8:b::10'] },
}
const services = { web: { from: 'old1', to: 'new1', listen: ['tcp/80'] } }
const fleet = { fleet: 'bad', hosts, services }
const all = ['old1', 'old2', 'new1', 'new2'] as const

interface Told {
  code: string
  host?: string
  message: string
  hint?: string
}
const errors = ({ events }: Ended): Told[] => events.filter(({ type }) => type === 'error') as unknown as Told[]

withRoot('bad input', () => {
  let practice: Practice

  beforeAll(async () => {
    practice = await Practice.start('bad')
  })
  afterAll(() => practice?.end())

  /** What an agent writes by itself, whether it is asked or not. */
  const diaries = ['/var/lib/fleetmove/arrivals.jsonl', '/var/lib/fleetmove/agent.log']

  /** An agent looks around by itself now and then, with these. */
  const looks = /^(wg|nft|ip|ss|ip6?tables\S*|xtables\S*)\n/gm
  const everything = () =>
    Promise.all(
      all.map(async (host) => [
        (await practice.lab.changedFiles(host)).filter(({ path }) => !diaries.includes(path)),
        (await practice.lab.hostState(host)).replace(looks, ''),
      ]),
    )

  /** Runs a command that must fail and change nothing on any host. */
  async function refused(code: number, ...args: string[]): Promise<Ended> {
    const before = await everything()
    const run = await practice.fleetmove(...args)
    expect({ code: run.code, stderr: run.stderr }).toEqual({ code, stderr: expect.any(String) })
    expect(await everything()).toEqual(before)
    return run
  }

  describe('fleet.yaml', () => {
    const text = [
      'fleet: bad',
      'hosts:',
      '  old1: { ssh: root@203.0.113.10, addresses: [203.0.113.10] }',
      '  new1: { ssh: root@198.51.100.10, adresses: [198.51.100.10] }',
      'services:',
      '  web: { from: old1, to: new1, listen: [tcp/99999] }',
    ].join('\n')

    test('that is wrong ends with 64, and file, line and column of each mistake', async () => {
      await practice.fleet(text)
      const run = await refused(64, 'up')
      expect(run.stdout).toBe('')
      expect(run.stderr).toMatch(/fleet\.yaml:4:36.*adresses.*addresses/)
      expect(run.stderr).toMatch(/fleet\.yaml:6:41.*99999/)
      expect(run.stderr).not.toMatch(/\s at /)
    })

    test('with --json the mistakes are JSON', async () => {
      await practice.fleet(text)
      const run = await refused(64, 'up', '--json')
      const told = errors(run)
      expect(told.length).toBe(run.events.length)
      expect(new Set(told.map(({ code }) => code))).toEqual(new Set(['usage']))
      expect(told.map(({ message }) => message).join('\n')).toMatch(/fleet\.yaml:4:36/)
    })

    test.each([
      ['is missing', ['up', '-f', 'nowhere.yaml'], /nowhere\.yaml/],
      ['is no YAML', ['up', '-f', '/dev/stdin'], /stdin/],
    ])('that %s ends with 64', async (_what, args, words) => {
      const run = await refused(64, ...args)
      expect(run.stderr).toMatch(words)
    })

    test.each([
      [['advance'], /what to move/],
      [['advance', '--wave', '0'], /whole number/],
      [['advance', '--all', 'web'], /only one of them/],
      [['verify', 'nobody'], /nobody/],
      [['finalize', '--quiet', 'soon'], /--quiet/],
      [['up', '--timeout', 'never'], /500ms/],
      [['dance'], /dance/],
    ])('%j is bad usage', async (args, words) => {
      await practice.fleet(fleet)
      expect((await refused(64, ...args)).stderr).toMatch(words)
    })
  })

  describe('hosts', () => {
    test('that can not be reached are named, both at once, and soon', async () => {
      await practice.fleet({
        ...fleet,
        hosts: {
          old1: { ...hosts.old1, ssh: 'root@203.0.113.10:2222' },
          new1: { ...hosts.new1, ssh: 'root@nowhere.invalid' },
        },
      })
      const run = await refused(1, 'up', '--json')
      expect(
        errors(run)
          .map(({ code, host }) => `${host} ${code}`)
          .sort(),
      ).toEqual(['new1 unreachable', 'old1 unreachable'])
      for (const { hint } of errors(run)) expect(hint).toBeTruthy()
      expect(run.ms).toBeLessThan(20_000)
    })

    test('not reached, without nft, without any tunnel and without root are named at once', async () => {
      await practice.fleet({
        ...fleet,
        hosts: {
          ...hosts,
          old2: { ssh: 'root@203.0.113.20', addresses: ['203.0.113.20'] },
          new2: { ssh: 'deploy@198.51.100.20', addresses: ['198.51.100.20'] },
          gone: { ssh: 'root@203.0.113.20:2222', addresses: ['203.0.113.99'] },
        },
        services: {
          ...services,
          other: { from: 'old2', to: 'new2', listen: ['tcp/80'] },
          far: { from: 'gone', to: 'new2', listen: ['tcp/81'] },
        },
      })
      const before = await everything()
      await practice.shell('old1', 'mv /usr/sbin/nft /root/nft.hidden')
      await practice.shell('new1', 'umount /dev/net/tun && rm /dev/net/tun')
      let run: Ended
      try {
        run = await practice.fleetmove('up', '--json')
      } finally {
        await practice.shell('old1', 'mv /root/nft.hidden /usr/sbin/nft')
        await practice.shell('new1', 'mknod -m 0666 /dev/net/tun c 10 200')
      }
      expect(run.code).toBe(1)
      const told = errors(run).map(({ code, host, message, hint }) => ({ code, host, message, hint }))
      expect(new Set(told.map(({ code }) => code))).toEqual(new Set(['unreachable', 'preflight']))
      expect(told.filter(({ code }) => code === 'unreachable').map(({ host }) => host)).toEqual(['gone'])
      expect(told).toContainEqual(
        expect.objectContaining({
          host: 'old1',
          message: 'nft is not installed',
          hint: expect.stringContaining('nftables'),
        }),
      )
      expect(told).toContainEqual(
        expect.objectContaining({ host: 'new1', message: expect.stringContaining('/dev/net/tun') }),
      )
      expect(told).toContainEqual(
        expect.objectContaining({
          host: 'new2',
          message: expect.stringContaining('not as root'),
          hint: expect.stringContaining('become: sudo'),
        }),
      )
      expect(await everything()).toEqual(before)
    })

    test.each([
      ['unknown', "sed -i '/198\\.51\\.100\\.10/d' .ssh/known_hosts", /unknown|not known|known_hosts/],
      // The key of another host in its place.
      [
        'changed',
        `other=$(awk '/203\\.0\\.113\\.20/ { print $3 }' .ssh/known_hosts)
sed -Ei "/198\\.51\\.100\\.10/s#(ssh-ed25519) .*#\\1 $other#" .ssh/known_hosts`,
        /changed|another key|differ/,
      ],
    ])('whose key is %s are refused without a question', async (_what, script, words) => {
      await practice.fleet(fleet)
      await practice.shell('controller', `cd /root && cp -p .ssh/known_hosts saved && ${script}`)
      try {
        const run = await refused(1, 'up', '--json')
        expect(errors(run).map(({ code, host }) => `${host} ${code}`)).toEqual(['new1 host-key'])
        expect(errors(run)[0]!.message).toMatch(words)
        expect(errors(run)[0]!.message).toMatch(/SHA256:/)
        expect(errors(run)[0]!.hint).toBeTruthy()
      } finally {
        await practice.shell('controller', 'cd /root && mv saved .ssh/known_hosts')
      }
    })

    test('a password that sudo wants is not asked for without a terminal', async () => {
      await practice.fleet({
        ...fleet,
        hosts: { ...hosts, new1: { ...hosts.new1, ssh: 'ops@198.51.100.10', become: 'sudo' } },
      })
      const run = await refused(1, 'up', '--json')
      expect(
        errors(run)
          .map(({ host, message }) => `${host} ${message}`)
          .join(),
      ).toMatch(/^new1 .*wants a password.*no terminal/)
      expect(errors(run)[0]!.hint).toMatch(/terminal.*NOPASSWD/)
      expect(run.ms).toBeLessThan(10_000)
    })
  })

  describe("the agent's socket", () => {
    let directory: string
    let server: Server
    let client: AgentClient
    let dial: string[]

    beforeAll(async () => {
      await practice.fleet(fleet)
      const before = await everything()
      await practice.must('up')
      // What is compared below does tell of changes.
      expect(await everything()).not.toEqual(before)
      const paths = await practice.shell(
        'new1',
        'ls /usr/local/lib/fleetmove/runtime-*/node /usr/local/lib/fleetmove/agent-*/agent.cjs',
      )
      const [agent, runtime] = paths.trim().split('\n').sort()
      dial = [runtime!, agent!, 'dial']
      directory = await mkdtemp(join(tmpdir(), 'e2e-bad-'))
      const path = join(directory, 'agent.sock')
      server = createServer((socket) => {
        const child = practice.spawn('new1', dial)
        socket.pipe(child.stdin!).on('error', () => {})
        child.stdout!.pipe(socket).on('error', () => {})
        socket.on('close', () => child.kill())
      })
      await new Promise<void>((resolve) => server.listen(path, resolve))
      client = new AgentClient(`unix:${path}`, credentials.createInsecure(), { 'grpc.default_authority': 'localhost' })
    })
    afterAll(async () => {
      client?.close()
      server?.close()
      if (directory) await rm(directory, { recursive: true })
    })

    const hello = (): Promise<HelloReply> =>
      new Promise((resolve, reject) => {
        client.hello({}, { deadline: Date.now() + 10_000 } as never, (error, reply) =>
          error ? reject(error) : resolve(reply),
        )
      })
    const apply = (spec: HostSpec | undefined, confirmWithinMs = 1000): Promise<ServiceError | null> =>
      new Promise((resolve) => client.apply({ spec, confirmWithinMs }, (error) => resolve(error)))

    const hostile: [string, (spec: HostSpec) => void][] = [
      ['a name that ends a rule', (spec) => (spec.services[0]!.name = 'x"; flush ruleset; #')],
      ['a fleet of 33 letters', (spec) => (spec.fleet = 'a'.repeat(33))],
      ['a host with a path', (spec) => (spec.host = '../../etc')],
      ['an address that is a command', (spec) => (spec.services[0]!.routes[0]!.address = '1.2.3.4 ; flush ruleset')],
      ['loopback as an address', (spec) => (spec.services[0]!.routes[0]!.address = '127.0.0.1')],
      ['everybody as an address', (spec) => (spec.services[0]!.routes[0]!.address = '0.0.0.0')],
      ['a protocol of its own', (spec) => (spec.services[0]!.routes[0]!.protocol = 'sctp')],
      ['port 0', (spec) => (spec.services[0]!.routes[0]!.ports = { from: 0, to: 80 })],
      ['ports that run backwards', (spec) => (spec.services[0]!.routes[0]!.ports = { from: 81, to: 80 })],
      ['a port above 65535', (spec) => (spec.services[0]!.routes[0]!.ports = { from: 80, to: 4_000_000_000 })],
      ['no action', (spec) => Object.assign(spec.services[0]!.routes[0]!, { forward: undefined, serve: undefined })],
      ['tunnel 64', (spec) => (spec.tunnels[0]!.index = 64)],
      ['a tunnel twice', (spec) => spec.tunnels.push(spec.tunnels[0]!)],
      ['a service twice', (spec) => spec.services.push(spec.services[0]!)],
      ['an unknown driver', (spec) => (spec.tunnels[0]!.driver = 'carrier-pigeon')],
      ['a key with a second line', (spec) => (spec.tunnels[0]!.peerIdentity += '\nPostUp = reboot')],
      ['an MTU of nothing', (spec) => (spec.tunnels[0]!.mtu = 0)],
      [
        'a device with a slash',
        (spec) => Object.assign(spec.tunnels[0]!, { driver: 'direct', peerIdentity: '', device: '../all' }),
      ],
      ['generation 0', (spec) => (spec.generation = 0)],
      ['no stage of ours', (spec) => (spec.services[0]!.stage = 'lost')],
      ['the probe port as a listener', (spec) => (spec.services[0]!.routes[0]!.ports = { from: 52_000, to: 53_000 })],
    ]

    test('refuses malformed and hostile specs, and nothing changes', async () => {
      const before = [await everything(), await hello()]
      const { confirmed, generation } = await hello()
      const answers: Record<string, string> = {}
      for (const [what, spoil] of hostile) {
        const spec = structuredClone(confirmed!)
        spec.generation = generation + 1
        spoil(spec)
        const error = await apply(spec)
        answers[what] = error ? status[error.code]! : 'taken'
        expect(error?.details).toMatch(/^spec/)
      }
      expect(answers).toEqual(Object.fromEntries(hostile.map(([what]) => [what, 'INVALID_ARGUMENT'])))
      expect((await apply(undefined))?.code).toBe(status.INVALID_ARGUMENT)
      expect((await apply(confirmed, 0))?.code).toBe(status.INVALID_ARGUMENT)
      expect([await everything(), await hello()]).toEqual(before)
    })

    test('refuses an older generation, and the same one with other content', async () => {
      const before = await everything()
      const { confirmed, generation } = await hello()
      for (const number of [generation - 1, generation]) {
        const spec = structuredClone(confirmed!)
        Object.assign(spec, { generation: number, services: [] })
        const error = await apply(spec)
        expect([error?.code, error?.details]).toEqual([
          status.FAILED_PRECONDITION,
          expect.stringContaining(`generation ${number}`),
        ])
      }
      expect(await everything()).toEqual(before)
    })

    test('random bytes and a torn HTTP/2 preface do not hurt it', async () => {
      const before = await hello()
      const throwAt = (bytes: Buffer): Promise<void> =>
        new Promise((resolve) => {
          const socket = connect(join(directory, 'agent.sock'), () => socket.end(bytes))
          socket.on('error', () => {})
          socket.on('close', () => resolve())
          socket.resume()
        })
      const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
      await Promise.all([
        ...Array.from({ length: 8 }, (_, i) => throwAt(randomBytes(10 ** (1 + (i % 5))))),
        throwAt(preface.subarray(0, 9)),
        ...Array.from({ length: 4 }, () => throwAt(Buffer.concat([preface, randomBytes(2000)]))),
      ])
      expect(await hello()).toEqual(before)
    })

    test('a message of 8 MB is refused', async () => {
      const { confirmed, generation } = await hello()
      const spec = structuredClone(confirmed!)
      spec.generation = generation + 1
      spec.services[0]!.name = 'a'.repeat(8_000_000)
      const error = await apply(spec)
      expect(error && status[error.code]).toBe('RESOURCE_EXHAUSTED')
      expect((await hello()).generation).toBe(generation)
    })
  })

  test('a service that does not run on the new host is not switched to it, even for a moment', async () => {
    await practice.shell('new1', '! pgrep -x nginx')
    const run = await practice.fleetmove('advance', 'web', '--json')
    expect(run.code).toBe(3)
    // Its own address there leads to the old host, where the service does answer.
    expect(errors(run)[0]!.message).toMatch(/^web stays on old1: web isn't healthy.*198\.51\.100\.10:80 refuses/)
    expect(run.stderr + run.stdout).not.toMatch(/switch to new1/)
    expect(await practice.shell('client1', 'curl -sS -m 5 http://198.51.100.10/')).toMatch(/^old1 198\.18\.0\.11 /)
  })
})
