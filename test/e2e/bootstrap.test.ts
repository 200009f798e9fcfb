/** How the agent comes to a host and is replaced there: as which user, at what cost, and with which traces. */
import { appendFile, cp, mkdtemp, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { main, Practice, withRoot } from './practice.js'

jest.setTimeout(300_000)

const checkout = join(__dirname, '../..')
const old4 = '203.0.113.10'
const new4 = '198.51.100.10'
const port = 7001

const fleet = (user: string, become: 'none' | 'sudo') => ({
  fleet: 'bootstrap',
  hosts: {
    old1: { ssh: `${user}@${old4}`, become, addresses: [old4] },
    new1: { ssh: `${user}@${new4}`, become, addresses: [new4] },
  },
  services: { echo: { from: 'old1', to: 'new1', listen: [`tcp/${port}`] } },
})

withRoot('bootstrap', () => {
  let practice: Practice
  /** The same version with another agent in it. */
  let other: string

  beforeAll(async () => {
    const dist = dirname(dirname(main))
    // Beside the build, since the lab's hosts have a /tmp of their own; before the lab, whose hosts see files as they were.
    other = await mkdtemp(`${dist}-other-`)
    await cp(dist, other, { recursive: true })
    await appendFile(join(other, 'agent/agent.cjs'), '\n// another agent\n')
    practice = await Practice.start('boot')
    for (const host of ['old1', 'new1']) await practice.serve(host, host, [`tcp 0.0.0.0 ${port}`])
  })
  afterAll(async () => {
    await practice?.end()
    if (other) await rm(other, { recursive: true })
  })

  const both = <T>(ask: (host: string) => Promise<T>): Promise<T[]> => Promise.all(['old1', 'new1'].map(ask))
  /** Sockets that take connections or datagrams: protocol and local address. */
  const listeners = (): Promise<string[]> =>
    both((host) => practice.shell(host, "ss -Hltnu | awk '{ print $1, $5 }' | sort"))
  const agents = (): Promise<string[]> =>
    both((host) => practice.shell(host, 'ls -d /usr/local/lib/fleetmove/*-*; cat /run/fleetmove/agent.pid'))

  describe('as deploy, with sudo that asks for nothing', () => {
    let before: string[]
    beforeAll(async () => {
      await practice.fleet(fleet('deploy', 'sudo'))
      before = await listeners()
    })

    test('up installs, runs and verifies', async () => {
      const { stderr } = await practice.must('up')
      expect(stderr.match(/agent: +\d+\.\d MB sent, started/g)).toHaveLength(2)
    })

    test('no port is opened but the tunnel’s', async () => {
      const now = await listeners()
      now.forEach((sockets, i) => {
        const added = sockets.split('\n').filter((line) => !before[i]!.split('\n').includes(line))
        expect(added.map((line) => line.replace(/^udp (\*|0\.0\.0\.0|\[::\]):/, 'udp '))).toEqual(
          added.map(() => 'udp 51820'),
        )
        expect(added.length).toBeGreaterThan(0)
      })
    })

    test("the socket is root's alone, and so is what is kept", async () => {
      const stat =
        "stat -c '%n %a %U %G' /run/fleetmove /run/fleetmove/agent.sock /var/lib/fleetmove /var/lib/fleetmove/keys; stat -c '%a %U' /var/lib/fleetmove/keys/* /var/lib/fleetmove/ledger.json | sort -u"
      for (const text of await both((host) => practice.shell(host, stat)))
        expect(text.trim().split('\n')).toEqual([
          '/run/fleetmove 700 root root',
          '/run/fleetmove/agent.sock 600 root root',
          '/var/lib/fleetmove 700 root root',
          '/var/lib/fleetmove/keys 700 root root',
          '600 root',
        ])
      const stranger = await practice.lab.exec('new1', ['su', 'deploy', '-c', 'ls /run/fleetmove /var/lib/fleetmove'])
      expect(stranger.code).not.toBe(0)
    })

    test('a second up sends nothing, starts nothing and changes nothing', async () => {
      const agentsBefore = await agents()
      const { stdout, stderr } = await practice.must('up')
      expect(stderr.match(/agent: +nothing sent, runs already/g)).toHaveLength(2)
      expect(stdout).toMatch(/Nothing was to do/)
      expect(await agents()).toEqual(agentsBefore)
    })

    test('another agent replaces only the agent, and forwarding goes on under load', async () => {
      const before = await agents()
      const endHeld = await practice.hold('client2', [`${new4}:${port}`, `${old4}:${port}`])
      let replaced = false
      const load = (async () => {
        const answers = []
        // Until the replacement is over, and once more after it.
        for (let last = false; !last; ) {
          last = replaced
          const calls = Array.from({ length: 200 }, () => ({
            protocol: 'tcp' as const,
            address: new4,
            port,
            bytes: 500,
          }))
          answers.push(...(await practice.ask('client1', calls)))
        }
        return answers
      })()
      const run = await practice.lab
        .exec('controller', ['node', join(other, 'cli/main.js'), 'up'], { timeoutMs: 60_000 })
        .finally(() => {
          replaced = true
        })
      const answers = await load
      const held = await endHeld()
      expect({ code: run.code, stderr: run.stderr }).toEqual({ code: 0, stderr: expect.any(String) })
      // The runtime is 40 MB of it.
      const sent = [...run.stderr.matchAll(/agent: +(\d+\.\d) MB sent, started/g)].map((match) => Number(match[1]))
      expect(sent).toHaveLength(2)
      for (const megabytes of sent) expect(megabytes).toBeLessThan(3)
      const runtimes = (text: string) => text.split('\n').filter((line) => line.includes('/runtime-'))
      const after = await agents()
      expect(after.map(runtimes)).toEqual(before.map(runtimes))
      expect(after.map((text, i) => text === before[i])).toEqual([false, false])

      const bad = answers.filter(({ host, echoed, source }) => host !== 'old1' || !echoed || source !== '198.18.0.11')
      const longest = Math.max(...answers.map(({ connectMs }) => connectMs))
      console.log(
        `agents replaced under ${answers.length} connections, longest connect ${longest.toFixed(0)} ms; longest word on a held one ${Math.max(...held.map(({ longestMs }) => longestMs)).toFixed(0)} ms`,
      )
      expect(bad).toEqual([])
      expect(longest).toBeLessThan(900)
      for (const { error, said, back, longestMs } of held) {
        expect(error).toBe('')
        expect(said - back).toBeLessThanOrEqual(1)
        expect(longestMs).toBeLessThan(900)
      }
    })
  })

  describe('afterwards', () => {
    test("other commands don't speak with another version's agent, and say what to do", async () => {
      const run = await practice.fleetmove('verify')
      expect(run.code).toBe(1)
      expect(run.stderr).toMatch(/old1: the agent that runs there is another version's\n.*`fleetmove up`/)
    })

    test('up starts an agent that died and left its socket', async () => {
      await practice.must('up')
      const state = await practice.lab.hostState('new1')
      await practice.shell('new1', 'kill -9 $(cat /run/fleetmove/agent.pid)')
      expect(await practice.shell('new1', 'ls /run/fleetmove')).toContain('agent.sock')
      const { stdout, stderr } = await practice.must('up')
      expect(stderr).toMatch(/new1 +agent: nothing sent, started/)
      expect(stdout).toMatch(/Nothing was to do/)
      expect(await practice.lab.hostState('new1')).toBe(state)
    })
  })

  describe('as ops, whose sudo asks for a password', () => {
    beforeAll(() => practice.fleet(fleet('ops', 'sudo')))

    /** fleetmove on a terminal; `answer` is typed whenever a password is asked for. */
    async function atTerminal(answer: string, ...args: string[]): Promise<{ code: number | null; screen: string }> {
      const child = practice.spawn('controller', ['script', '-qefc', ['node', main, ...args].join(' '), '/dev/null'])
      let screen = ''
      let answered = 0
      child.stdout?.on('data', (chunk: Buffer) => {
        screen += chunk
        const asked = screen.split(/sudo password of ops on \w+: /).length - 1
        for (; answered < asked; answered++) child.stdin?.write(`${answer}\r`)
      })
      const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
      return { code, screen }
    }

    test('it is asked for on the terminal, once a host, and not shown', async () => {
      const { code, screen } = await atTerminal(practice.lab.opsPassword, 'up')
      expect({ code, screen }).toEqual({ code: 0, screen: expect.any(String) })
      expect(screen.match(/sudo password of ops on \w+/g)?.sort()).toEqual([
        'sudo password of ops on new1',
        'sudo password of ops on old1',
      ])
      expect(screen).not.toContain(practice.lab.opsPassword)
    })

    test('a wrong one is told, and names host and user', async () => {
      const { code, screen } = await atTerminal('wrong', 'verify')
      expect(code).toBe(1)
      expect(screen).toMatch(/sudo on [\d.]+ refuses ops: the password is wrong/)
    })

    test('without a terminal nothing waits: the error says what to do', async () => {
      const run = await practice.fleetmove('verify')
      expect(run.code).toBe(1)
      expect(run.stderr).toMatch(/wants a password, and there is no terminal.*\n.*terminal, or allow NOPASSWD/)
      expect(run.ms).toBeLessThan(10_000)
    })
  })

  test('down leaves no file and no process', async () => {
    await practice.fleet(fleet('root', 'none'))
    await practice.must('down')
    expect(await both((host) => practice.lab.changedFiles(host))).toEqual([[], []])
    // The test's own server runs from the checkout, which may be called fleetmove, too.
    const ours = `ps -e -o args= | grep -v -F '${checkout}/' | grep -c "[f]leetmove/" || true`
    expect(await both((host) => practice.shell(host, ours))).toEqual(['0\n', '0\n'])
  })
})
