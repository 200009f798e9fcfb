/**
 * SSH, bootstrap and the channel against a real sshd, sudo and ssh-agent. sshd runs on loopback in a
 * mount namespace of its own: its users, /usr/local/lib, /var/lib and /run are not the machine's.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Client as GrpcClient } from '@grpc/grpc-js'
import { build } from 'esbuild'
import { removeAgent, startAgent } from '../../controller/bootstrap/agent-service.js'
import {
  type Installation,
  installHost,
  type ReachedHost,
  reachHost,
} from '../../controller/bootstrap/bootstrap-host.js'
import { type AgentChannel, openChannel } from '../../controller/bootstrap/channel.js'
import { asRoot, type Become, type RootAccess } from '../../controller/ssh/become.js'
import { connectSsh } from '../../controller/ssh/connect.js'
import { shellQuote } from '../../controller/ssh/shell-quote.js'
import type { SshConnection } from '../../controller/ssh/ssh-connection.js'
import { FleetmoveError } from '../../proto/model/error.js'

const source = resolve(__dirname, '../..')
const missing = missingForTest()
if (missing !== undefined) console.warn(`test/kernel/ssh is skipped: ${missing}`)
const suite = missing === undefined ? describe : describe.skip

function missingForTest(): string | undefined {
  if (process.getuid?.() !== 0) return 'it needs root'
  for (const tool of ['/usr/sbin/sshd', '/usr/bin/ssh', '/usr/bin/ssh-agent', '/usr/bin/sudo'])
    if (!existsSync(tool)) return `${tool} is not installed`
  if (spawnSync('unshare', ['-m', 'true']).status !== 0) return 'no mount namespace can be made'
  return undefined
}

// Uploads and sudo's delay after a wrong password take seconds on a busy machine.
jest.setTimeout(60_000)

const passphrase = 'open sesame'
const sudoPassword = "it's a \\secret\\ $word"

interface Server {
  directory: string
  port: number
  process: ChildProcess
  /** Writes an ssh_config and returns its path; `lines` belong to `Host *`. */
  config(lines: string[], known?: string): string
  /** Public key line of a host key: `type base64`. */
  hostKey(type: 'ed25519' | 'ecdsa'): string
  /** Runs a command in the mount namespace of sshd. */
  inside(...argv: string[]): string
  stop(): Promise<void>
}

const keygen = (path: string, ...options: string[]): void => {
  execFileSync('ssh-keygen', ['-q', '-f', path, '-N', '', ...options])
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  await new Promise((done) => server.close(done))
  return port
}

async function until(what: string, test: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await test())) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await new Promise((done) => setTimeout(done, 20))
  }
}

async function startServer(): Promise<Server> {
  const directory = mkdtempSync(join(tmpdir(), 'fleetmove-ssh-'))
  chmodSync(directory, 0o755)
  const file = (name: string, text: string, mode = 0o644): string => {
    writeFileSync(join(directory, name), text, { mode })
    return join(directory, name)
  }
  for (const type of ['ed25519', 'ecdsa'] as const) keygen(join(directory, `host_${type}`), '-t', type)
  keygen(join(directory, 'plain'), '-t', 'ed25519', '-C', 'plain')
  keygen(join(directory, 'rsa'), '-t', 'rsa', '-b', '2048', '-C', 'rsa')
  keygen(join(directory, 'stranger'), '-t', 'ed25519')
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-f', join(directory, 'locked'), '-N', passphrase])
  const keys = ['plain', 'rsa', 'locked'].map((name) => readFileSync(join(directory, `${name}.pub`), 'utf8')).join('')
  mkdirSync(join(directory, 'keys'))
  for (const user of ['root', 'deploy', 'ops', 'guest', 'nobody']) file(`keys/${user}`, keys)
  const port = await freePort()
  file(
    'sshd_config',
    [
      `ListenAddress 127.0.0.1:${port}`,
      `HostKey ${directory}/host_ed25519`,
      `HostKey ${directory}/host_ecdsa`,
      `AuthorizedKeysFile ${directory}/keys/%u`,
      'PidFile none',
      'StrictModes no',
      'UsePAM no',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'MaxStartups 100',
      'PermitRootLogin yes',
    ].join('\n'),
  )
  const hash = execFileSync('openssl', ['passwd', '-6', '-stdin'], { input: sudoPassword, encoding: 'utf8' }).trim()
  file(
    'passwd',
    'root:x:0:0::/:/bin/bash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\ndeploy:x:2001:2001::/:/bin/sh\n' +
      'ops:x:2002:2002::/:/bin/bash\nguest:x:2003:2002::/:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n',
  )
  file('group', 'root:x:0:\nnogroup:x:65534:\ndeploy:x:2001:\nops:x:2002:\n')
  file(
    'shadow',
    `root:*:19000::::::\nsshd:*:19000::::::\ndeploy:*:19000::::::\nops:${hash}:19000::::::\nnobody:*:19000::::::\nguest:${hash}:19000::::::\n`,
    0o600,
  )
  file('sudoers', 'Defaults use_pty\nroot ALL=(ALL) ALL\ndeploy ALL=(ALL) NOPASSWD: ALL\nops ALL=(ALL) ALL\n', 0o440)
  const enter = [
    'set -e; d=$1',
    'for f in passwd group shadow sudoers; do mount --bind "$d/$f" /etc/$f; done',
    'for m in /usr/local/lib /var/lib /run; do mount -t tmpfs -o mode=0755 tmpfs $m; done',
    'mkdir /run/sshd; exec /usr/sbin/sshd -D -e -f "$d/sshd_config"',
  ].join('; ')
  const child = spawn('unshare', ['-m', '--propagation', 'private', 'sh', '-c', enter, 'sh', directory], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let log = ''
  child.stderr.on('data', (chunk) => {
    log += chunk
  })
  await until('sshd listens', () => {
    if (child.exitCode !== null) throw new Error(`sshd ended: ${log}`)
    return log.includes('Server listening')
  })
  const hostKey = (type: string): string =>
    readFileSync(join(directory, `host_${type}.pub`), 'utf8')
      .split(' ')
      .slice(0, 2)
      .join(' ')
  let configs = 0
  return {
    directory,
    port,
    process: child,
    hostKey,
    config: (lines, known) => {
      const number = configs++
      const knownHosts = file(`known_${number}`, known ?? `[127.0.0.1]:${port} ${hostKey('ed25519')}\n`)
      const all = lines.some((line) => line.startsWith('Identity'))
        ? lines
        : [...lines, `IdentityFile ${directory}/plain`]
      return file(
        `config_${number}`,
        ['Host *', ...all, `UserKnownHostsFile ${knownHosts}`, 'GlobalKnownHostsFile none', 'IdentityAgent none']
          .map((line, index) => (index === 0 ? line : `  ${line}`))
          .join('\n'),
      )
    },
    inside: (...argv) => execFileSync('nsenter', ['-m', '-t', String(child.pid), ...argv], { encoding: 'utf8' }),
    stop: async () => {
      const ended = new Promise((done) => child.once('exit', done))
      child.kill()
      await ended
      rmSync(directory, { recursive: true })
    },
  }
}

async function refusal(work: Promise<unknown>): Promise<FleetmoveError> {
  try {
    await work
  } catch (error) {
    if (error instanceof FleetmoveError) return error
    throw error
  }
  throw new Error('it went through')
}

suite('ssh against a real sshd', () => {
  let server: Server
  const opened: SshConnection[] = []
  const open = async (user: string, config = server.config([]), askSecret?: (prompt: string) => Promise<string>) => {
    const connection = await connectSsh(`${user}@127.0.0.1:${server.port}`, {
      configFile: config,
      host: 'new',
      askSecret,
    })
    opened.push(connection)
    return connection
  }
  const rootOf = async (
    user: string,
    become: Become,
    askSecret?: (prompt: string) => Promise<string>,
  ): Promise<RootAccess> => asRoot(await open(user), become, askSecret)

  beforeAll(async () => {
    server = await startServer()
  })
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((connection) => connection.close()))
  })
  afterAll(async () => {
    await server.stop()
  })

  describe('host keys', () => {
    it('refuses an unknown key and shows its fingerprint as ssh-keygen does', async () => {
      const error = await refusal(open('root', server.config([], '')))
      const shown = execFileSync('ssh-keygen', ['-lf', join(server.directory, 'host_ed25519.pub')], {
        encoding: 'utf8',
      })
      expect(error.code).toBe('host-key')
      expect(error.host).toBe('new')
      expect(error.message).toContain(`ssh-ed25519 ${shown.split(' ')[1]}`)
      expect(error.hint).toContain(`ssh-keyscan -p ${server.port} 127.0.0.1 >> ${server.directory}/known_`)
    })

    it('refuses a changed key and names the line', async () => {
      const stranger = readFileSync(join(server.directory, 'stranger.pub'), 'utf8')
      const known = `# a comment\n\n[127.0.0.1]:${server.port} ${stranger}`
      const error = await refusal(open('root', server.config([], known)))
      expect(error.code).toBe('host-key')
      expect(error.message).toMatch(/has changed: .*known_\d+:3 has ssh-ed25519 SHA256:/)
      expect(error.hint).toContain(`-R '[127.0.0.1]:${server.port}'`)
    })

    it('refuses a revoked key', async () => {
      const line = `[127.0.0.1]:${server.port} ${server.hostKey('ed25519')}\n`
      const error = await refusal(open('root', server.config([], `${line}@revoked ${line}`)))
      expect(error.message).toMatch(/is revoked in .*:2/)
    })

    it('knows a host by the hashed name that ssh-keygen -H writes', async () => {
      const config = server.config([])
      const known = /UserKnownHostsFile (.*)/.exec(readFileSync(config, 'utf8'))?.[1] ?? ''
      execFileSync('ssh-keygen', ['-q', '-H', '-f', known], { stdio: 'ignore' })
      expect(readFileSync(known, 'utf8')).toMatch(/^\|1\|/)
      await open('root', config)
    })

    it('asks for the type that known_hosts has', async () => {
      await open('root', server.config([], `[127.0.0.1]:${server.port} ${server.hostKey('ecdsa')}\n`))
    })
  })

  describe('login', () => {
    const withKey = (name: string, ...lines: string[]): string =>
      server.config([`IdentityFile ${server.directory}/${name}`, 'IdentitiesOnly yes', ...lines])

    it('signs with an RSA key by SHA-2', async () => {
      await open('root', withKey('rsa'))
    })

    it('asks for the passphrase of an encrypted key, again when it is wrong', async () => {
      const prompts: string[] = []
      await open('root', withKey('locked'), async (prompt) => {
        prompts.push(prompt)
        return prompts.length === 1 ? 'wrong' : passphrase
      })
      const prompt = `Passphrase for ${server.directory}/locked: `
      expect(prompts).toEqual([prompt, prompt])
    })

    it('says without a terminal that a key is encrypted', async () => {
      const error = await refusal(open('root', withKey('locked')))
      expect(error.code).toBe('unreachable')
      expect(error.message).toContain('locked is encrypted and there is no terminal')
      expect(error.hint).toContain('ssh-add')
    })

    it('uses the keys of an agent, the configured one first', async () => {
      const socket = join(server.directory, 'agent.sock')
      const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' })
      try {
        await until('the agent listens', () => existsSync(socket))
        for (const name of ['stranger', 'plain'])
          execFileSync('ssh-add', ['-q', join(server.directory, name)], {
            env: { ...process.env, SSH_AUTH_SOCK: socket },
          })
        const config = join(server.directory, 'config_agent')
        writeFileSync(
          config,
          readFileSync(withKey('locked'), 'utf8').replace('IdentityAgent none', `IdentityAgent ${socket}`),
        )
        // The agent has no key that the configuration names.
        const error = await refusal(open('root', config))
        expect(error.message).toContain('no key was offered')
        writeFileSync(config, readFileSync(config, 'utf8').replace('IdentitiesOnly yes', 'IdentitiesOnly no'))
        await open('root', config)
      } finally {
        const ended = new Promise((done) => agent.once('exit', done))
        agent.kill()
        await ended
      }
    })

    it('names the keys that were offered and the methods that are accepted', async () => {
      const error = await refusal(open('root', withKey('stranger')))
      expect(error.code).toBe('unreachable')
      expect(error.message).toContain(`does not let root in; offered: key file ${server.directory}/stranger`)
      expect(error.message).toContain('the host accepts: publickey')
    })

    it('says that a user has no shell', async () => {
      for (const become of ['none', 'sudo'] as const) {
        const access = { host: 'new', ssh: `nobody@127.0.0.1:${server.port}`, become }
        const error = await refusal(reachHost(access, { configFile: server.config([]) }))
        expect(error.message).toMatch(/runs no commands: .*not available/)
      }
    })

    it('goes through jump hosts and checks them too', async () => {
      const jump = (known: string): string =>
        server.config([`HostName 127.0.0.1\n  Port ${server.port}\n  User root`, 'IdentitiesOnly no'], known)
      const aliases = (config: string): string => {
        const path = `${config}_jump`
        const hosts = ['front', 'middle', 'back'].map((name) => `Host ${name}\n  HostKeyAlias ${name}\n`)
        writeFileSync(path, `${hosts.join('')}Host back\n  ProxyJump front,middle\n${readFileSync(config, 'utf8')}`)
        return path
      }
      const line = (name: string): string => `${name} ${server.hostKey('ed25519')}\n`
      const good = aliases(jump(line('front') + line('middle') + line('back')))
      const connection = await connectSsh('back', { configFile: good })
      opened.push(connection)
      expect((await connection.exec('echo $SSH_CONNECTION')).stdout).toContain('127.0.0.1')

      const error = await refusal(connectSsh('back', { configFile: aliases(jump(line('front') + line('back'))) }))
      expect(error.code).toBe('host-key')
      expect(error.hint).toContain('middle')
    })
  })

  describe('what can be in the way', () => {
    it('says that nobody listens', async () => {
      const port = await freePort()
      const error = await refusal(connectSsh(`root@127.0.0.1:${port}`, { configFile: server.config([]) }))
      expect(error.code).toBe('unreachable')
      expect(error.message).toBe(`127.0.0.1 port ${port} refuses connections`)
    })

    it('says that what listens is no sshd, and gives up on one that says nothing', async () => {
      const talker = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
      const silent = createServer((socket) => socket.on('error', () => {}))
      for (const listener of [talker, silent]) await new Promise<void>((done) => listener.listen(0, '127.0.0.1', done))
      try {
        const config = server.config(['ConnectTimeout 1'])
        const reach = (listener: typeof silent): Promise<FleetmoveError> =>
          refusal(connectSsh(`root@127.0.0.1:${(listener.address() as AddressInfo).port}`, { configFile: config }))
        expect((await reach(talker)).message).toMatch(/^no SSH session with/)
        expect((await reach(silent)).code).toBe('timeout')
      } finally {
        talker.close()
        silent.close()
      }
    })
  })

  describe('commands', () => {
    it('passes bytes, exit codes and signals through', async () => {
      const connection = await open('root')
      const bytes = randomBytes(300_000)
      const sum = await connection.exec('sha256sum', { input: bytes })
      expect(sum).toMatchObject({ code: 0, stderr: '' })
      expect(sum.stdout).toContain(execFileSync('sha256sum', { input: bytes, encoding: 'utf8' }).slice(0, 64))
      expect(await connection.exec('echo no >&2; exit 7')).toEqual({
        code: 7,
        signal: undefined,
        stdout: '',
        stderr: 'no\n',
      })
      expect(await connection.exec('kill -9 $$')).toMatchObject({ code: null, signal: 'SIGKILL' })
    })

    it('quotes any words for the shell', async () => {
      const connection = await open('root')
      const words = [
        "it's",
        '$(reboot)',
        '`id`',
        'a\nb',
        '\\',
        '"',
        '',
        ' ',
        '*',
        '~',
        '!!',
        '-n',
        'ü',
        '\x01',
        'a=b;c|d&',
      ]
      const { stdout } = await connection.exec(shellQuote(['printf', '%s\\0', ...words]))
      expect(stdout.split('\0').slice(0, -1)).toEqual(words)
    })

    it('ends what takes too long or says too much', async () => {
      const connection = await open('deploy')
      const late = await refusal(connection.exec('exec sleep 3457', { timeoutMs: 300 }))
      expect(late.code).toBe('timeout')
      await until('the command has ended', () => spawnSync('pgrep', ['-fx', 'sleep 3457']).status === 1)
      expect((await refusal(connection.exec('yes', { maxOutputBytes: 10_000 }))).code).toBe('invalid')
      expect((await connection.exec('echo on')).stdout).toBe('on\n')
    })

    it('runs more at once than sshd allows sessions', async () => {
      const connection = await open('root')
      const results = await Promise.all(Array.from({ length: 25 }, (_, n) => connection.exec(`sleep 0.05; echo ${n}`)))
      expect(results.map(({ stdout }) => Number(stdout))).toEqual(Array.from({ length: 25 }, (_, n) => n))
    })

    it('fails what runs when the connection is lost', async () => {
      const connection = await open('root')
      const running = refusal(connection.exec('kill -9 $PPID; exec sleep 5'))
      expect(await running).toMatchObject({ code: 'unreachable', host: 'new' })
      expect((await refusal(connection.exec('true'))).message).toContain('was lost')
    })
  })

  describe('sudo', () => {
    const bytes = randomBytes(200_000)
    const sum = (): string => execFileSync('sha256sum', { input: bytes, encoding: 'utf8' })

    it('works without a password', async () => {
      const root = await rootOf('deploy', 'sudo')
      expect((await root.exec(['id', '-u'])).stdout).toBe('0\n')
      expect((await root.exec(['sha256sum'], { input: bytes })).stdout).toBe(sum())
      expect(await root.exec(['sh', '-c', 'echo out; echo err >&2; exit 3'])).toMatchObject({
        code: 3,
        stdout: 'out\n',
        stderr: 'err\n',
      })
    })

    it('asks once for a password, which never reaches the command', async () => {
      const prompts: string[] = []
      const root = await rootOf('ops', 'sudo', async (prompt) => {
        prompts.push(prompt)
        return sudoPassword
      })
      const sums = await Promise.all([1, 2, 3].map(() => root.exec(['sha256sum'], { input: bytes })))
      expect(sums.map(({ stdout }) => stdout)).toEqual([sum(), sum(), sum()])
      expect((await root.exec(['wc', '-c'])).stdout.trim()).toBe('0')
      expect(prompts).toEqual(['sudo password of ops on new: '])
    })

    it('does not hang on a wrong password', async () => {
      const root = await rootOf('ops', 'sudo', async () => 'wrong')
      const error = await refusal(root.exec(['true'], { input: bytes }))
      expect(error).toMatchObject({ code: 'unreachable', host: 'new' })
      expect(error.message).toContain('the password is wrong')
    })

    it('says without a terminal that a password is wanted', async () => {
      const error = await refusal((await rootOf('ops', 'sudo')).exec(['true']))
      expect(error.message).toContain('there is no terminal to ask for it')
      expect(error.hint).toContain('NOPASSWD')
    })

    it('passes on why sudo refuses', async () => {
      const root = await rootOf('guest', 'sudo', async () => sudoPassword)
      const error = await refusal(root.exec(['true']))
      expect(error.code).toBe('unreachable')
      expect(error.message).toMatch(/refuses guest: .*not in the sudoers file/s)
    })
  })

  describe('bootstrap', () => {
    let bundle: string
    let cache: string
    const cacheBefore = process.env.XDG_CACHE_HOME

    beforeAll(async () => {
      bundle = join(server.directory, 'bundle')
      cache = join(server.directory, 'cache')
      process.env.XDG_CACHE_HOME = cache
      mkdirSync(bundle)
      await buildTestAgent(bundle)
    })
    afterAll(() => {
      if (cacheBefore === undefined) delete process.env.XDG_CACHE_HOME
      else process.env.XDG_CACHE_HOME = cacheBefore
    })

    const reach = async (user: string, become: Become): Promise<ReachedHost> => {
      const reached = await reachHost(
        { host: 'new', ssh: `${user}@127.0.0.1:${server.port}`, become },
        { configFile: server.config([]), askSecret: async () => sudoPassword },
      )
      opened.push(reached.root.connection)
      return reached
    }

    it('gets the facts as root and by sudo, and says who is not root', async () => {
      const [direct, bySudo, plain] = await Promise.all([
        reach('root', 'none'),
        reach('ops', 'sudo'),
        reach('ops', 'none'),
      ])
      for (const { facts } of [direct, bySudo]) {
        expect(facts).toMatchObject({
          system: 'Linux',
          uid: 0,
          systemd: false,
          hostname: execFileSync('uname', ['-n'], { encoding: 'utf8' }).trim(),
        })
        expect(facts.nft.concatMap.available).toBe('yes')
        expect(facts.installed).toEqual({
          directory: false,
          socket: false,
          ledger: false,
          runningAgent: '',
          runningRuntime: '',
        })
        expect(Math.abs(facts.clockMs - Date.now())).toBeLessThan(60_000)
      }
      expect(plain.facts.uid).toBe(2002)
      expect(plain.facts.wireguard.available).toBe('unknown')
    })

    it('installs, finds all there the second time, serves gRPC, and leaves nothing', async () => {
      const reached = await reach('ops', 'sudo')
      const { root } = reached
      // A leftover of an upload that was killed: no process has this number.
      server.inside('mkdir', '-p', '/usr/local/lib/fleetmove/.incoming-999999999')
      const first = await installHost(reached, bundle)
      expect(first.service).toBe('started')
      expect(first.sent).toBeGreaterThan(1_000_000)
      expect(server.inside('ls', '-A', '/usr/local/lib/fleetmove').trim().split('\n')).toHaveLength(2)
      expect(readdirSync(join(cache, 'fleetmove')).filter((name) => name.endsWith('.tar.gz'))).toHaveLength(2)

      const second = await installHost(reached, bundle)
      expect(second).toEqual({ ...first, sent: 0, service: 'unchanged' } satisfies Installation)
      const again = await reach('root', 'none')
      expect(again.facts.installed).toEqual({
        directory: true,
        socket: true,
        ledger: false,
        runningAgent: /agent-([0-9a-f]{16})/.exec(first.installed.agent)?.[1],
        runningRuntime: expect.stringMatching(/^[0-9a-f]{16}$/),
      })

      server.inside('sh', '-c', `echo // >>${first.installed.agent}`)
      expect((await installHost(reached, bundle)).sent).toBeGreaterThan(0)

      const channel = await openChannel(root, first.installed)
      const client = new GrpcClient(channel.address, channel.credentials, channel.options)
      try {
        for (const size of [0, 10, 3_000_000]) {
          const sent = randomBytes(size)
          expect((await echo(client, sent)).equals(sent)).toBe(true)
        }
        const times: number[] = []
        for (let n = 0; n < 200; n++) {
          const start = performance.now()
          await echo(client, Buffer.from('ping'))
          times.push(performance.now() - start)
        }
        times.sort((a, b) => a - b)
        console.log(`gRPC over SSH and sudo: p50 ${times[100]?.toFixed(2)} ms, p99 ${times[198]?.toFixed(2)} ms`)
        // Delayed acknowledgements would make it 40.
        expect(times[100]).toBeLessThan(20)
      } finally {
        client.close()
        await channel.close()
      }
      expect(existsSync(channel.address.replace('unix:', ''))).toBe(false)

      await removeAgent(root)
      for (const path of ['/usr/local/lib/fleetmove', '/var/lib/fleetmove', '/run/fleetmove'])
        expect(server.inside('sh', '-c', `ls -d ${path} 2>/dev/null || echo gone`).trim()).toBe('gone')
      expect(spawnSync('pgrep', ['-f', `${first.installed.agent} serve`]).status).toBe(1)
      await removeAgent(root)
    })

    it('reaches the socket by sshd alone where root is logged in, and by a process where sshd forwards no sockets', async () => {
      const reached = await reach('root', 'none')
      const { installed } = await installHost(reached, bundle)
      const dials = (): string =>
        spawnSync('pgrep', ['-fc', `${installed.agent} dial`], { encoding: 'utf8' }).stdout.trim()
      const ask = async (root: RootAccess): Promise<string> => {
        const channel = await openChannel(root, installed)
        const client = new GrpcClient(channel.address, channel.credentials, channel.options)
        try {
          const sent = randomBytes(1_000_000)
          expect((await echo(client, sent)).equals(sent)).toBe(true)
          return dials()
        } finally {
          client.close()
          await channel.close()
        }
      }
      try {
        expect(await ask(reached.root)).toBe('0')
        // A key that may forward nothing, as many are.
        const keys = join(server.directory, 'keys/root')
        const before = readFileSync(keys, 'utf8')
        writeFileSync(keys, before.replace(/^/gm, 'no-port-forwarding '))
        try {
          expect(await ask((await reach('root', 'none')).root)).toBe('1')
        } finally {
          writeFileSync(keys, before)
        }
      } finally {
        await removeAgent(reached.root)
      }
    })

    it('restarts another version, and makes a new connection by itself after it', async () => {
      const reached = await reach('deploy', 'sudo')
      const first = await installHost(reached, bundle)
      let channel: AgentChannel | undefined
      let client: GrpcClient | undefined
      try {
        channel = await openChannel(reached.root, first.installed)
        client = new GrpcClient(channel.address, channel.credentials, channel.options)
        const before = await pidOf(client)
        const other = join(server.directory, 'other')
        mkdirSync(other)
        for (const name of readdirSync(bundle)) copyFileSync(join(bundle, name), join(other, name))
        writeFileSync(join(other, 'agent.cjs'), `${readFileSync(join(bundle, 'agent.cjs'), 'utf8')}\n// other\n`)
        const second = await installHost(reached, other)
        expect(second.service).toBe('started')
        await new Promise<void>((done, failed) =>
          client?.waitForReady(Date.now() + 10_000, (e) => (e ? failed(e) : done())),
        )
        expect(await pidOf(client)).not.toBe(before)

        server.inside('sh', '-c', 'kill -9 "$(cat /run/fleetmove/agent.pid)"')
        const gone = await refusal(openChannel(reached.root, second.installed))
        expect(gone.message).toMatch(
          /no connection to the agent: no agent answers at \/run\/fleetmove\/agent\.sock: .*ECONNREFUSED/,
        )
      } finally {
        client?.close()
        await channel?.close()
        await removeAgent(reached.root)
      }
    })

    it("passes on the agent's last words when it does not start", async () => {
      const reached = await reach('root', 'none')
      const { installed } = await installHost(reached, bundle)
      try {
        server.inside('sh', '-c', `echo 'throw new Error("a broken agent")' >${installed.agent}`)
        server.inside('sh', '-c', 'kill -9 "$(cat /run/fleetmove/agent.pid)"; rm /run/fleetmove/agent.sock')
        const error = await refusal(startAgent(reached.root, installed, false))
        expect(error.code).toBe('health')
        expect(error.message).toContain('a broken agent')
      } finally {
        await removeAgent(reached.root)
      }
    })
  })
})

/** An agent that has the real dial, and one service that answers with what it gets. */
async function buildTestAgent(directory: string): Promise<void> {
  await build({
    stdin: {
      resolveDir: source,
      loader: 'ts',
      contents: `
        import { mkdirSync, rmSync } from 'node:fs'
        import { dial } from './agent/dial.ts'
        const main = async () => {
          if (process.argv[2] === 'dial') process.exit(await dial(process.argv.slice(3)))
          const { Server, ServerCredentials } = await import('@grpc/grpc-js')
          const pass = (bytes) => bytes
          const method = (path) => ({ path, requestStream: false, responseStream: false,
            requestSerialize: pass, requestDeserialize: pass, responseSerialize: pass, responseDeserialize: pass })
          const server = new Server()
          server.addService({ echo: method('/test.Agent/Echo'), pid: method('/test.Agent/Pid') }, {
            echo: (call, done) => done(null, call.request),
            pid: (call, done) => done(null, Buffer.from(String(process.pid))),
          })
          mkdirSync('/run/fleetmove', { recursive: true, mode: 0o700 })
          rmSync('/run/fleetmove/agent.sock', { force: true })
          server.bindAsync('unix:/run/fleetmove/agent.sock', ServerCredentials.createInsecure(), () => {})
        }
        main()
      `,
    },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    outfile: join(directory, 'agent.cjs'),
  })
  for (const arch of ['x64', 'arm64'])
    copyFileSync(
      join(source, 'node_modules/netlink/prebuilds', `linux-${arch}`, 'node.napi.node'),
      join(directory, `netlink-${arch}.node`),
    )
}

const call = (client: GrpcClient, path: string, request: Buffer): Promise<Buffer> =>
  new Promise((done, failed) => {
    client.makeUnaryRequest(
      path,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => bytes,
      request,
      { deadline: Date.now() + 10_000 },
      (error, reply) => (reply === undefined ? failed(error) : done(reply)),
    )
  })
const echo = (client: GrpcClient, bytes: Buffer): Promise<Buffer> => call(client, '/test.Agent/Echo', bytes)
const pidOf = async (client: GrpcClient): Promise<string> =>
  (await call(client, '/test.Agent/Pid', Buffer.alloc(0))).toString()
