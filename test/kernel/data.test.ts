import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import type { ServedData } from '../../controller/agents/agent.js'
import type { Service } from '../../controller/config/fleet.js'
import type { CopyOptions } from '../../controller/data.js'
import { copyData, refuseLostData, writtenSince } from '../../controller/data.js'
import type { World } from '../../controller/world.js'
import type { DataProgress, DataResult } from '../../proto/gen/fleetmove.js'
import { name } from '../unit/agent/plan/specs.js'
import { addresses, DataHost } from './data-host.js'
import { until } from './namespace-host.js'
import { saySkipped, whyNoNamespace } from './netns.js'

const reason = whyNoNamespace()
if (reason !== null) saySkipped(__filename, reason)
const onKernel = reason === null ? describe : describe.skip

jest.setTimeout(60_000)

const root = join(__dirname, '..', '..')
const data = '/srv/data'
const spool = '/srv/a "spool" %RSYNC_USER_NAME% \\'
const service = { name: name('mail'), from: name('old'), to: name('new'), data: [data, spool] } as unknown as Service

/** setxattr(2): Debian's attr and acl packages aren't everywhere, perl is. */
const setxattr = process.arch === 'arm64' ? 5 : 188
const lgetxattr = process.arch === 'arm64' ? 9 : 192
const acl = 'pack("L<",2).join("",map{pack("S<S<L<",@$_)}([1,6,-1],[2,4,12345],[4,4,-1],[16,6,-1],[32,0,-1]))'
const setAttributes = `
  sub put { my ($f,$n,$v) = @_; syscall(${setxattr},$f,$n,$v,length($v),0) == 0 or die "$f $n: $!"; }
  put("acl", "system.posix_acl_access", ${acl});
  put("attributes", "user.colour", "green"); put("attributes", "trusted.fleet", "yes");`
const showAttributes = `
  for my $f (@ARGV) { for my $n ("system.posix_acl_access", "user.colour", "trusted.fleet") {
    my ($g, $m, $v) = ($f, $n, "\\0" x 256); my $l = syscall(${lgetxattr},$g,$m,$v,256);
    print "$f $n ", $l < 0 ? "-" : unpack("H*", substr($v,0,$l)), "\\n"; } }`

/** Everything that a copy must keep, of every entry; links by what they are linked to. */
const shown = `cd "$1" && find . -printf '%P|%y|%m|%U|%G|%T@|%n|%l' \\( -type f -printf '|%s' -o -true \\) -printf '\\0' | sort -z | tr '\\0' '\\n'
  find . -type f -print0 | sort -z | xargs -0r sha256sum; find . -print0 | sort -z | xargs -0r perl -e '${showAttributes}'`
const look = (host: DataHost, directory: string) => host.host.exec('sh', '-ec', shown, 'sh', directory)

const tree = `mkdir -p "$1/deep/er" && cd "$1"
  head -c 300000 /dev/urandom > plain; echo one > 'a b'; echo two > "$(printf 'new\\nline')"; echo three > ./-dash; echo four > "$(printf '\\303\\244 \\377')"
  echo five > linked; ln linked deep/er/linked-too; ln -s ../plain deep/symbolic; ln -s /etc/passwd out; ln -s nowhere broken
  truncate -s 50M sparse; echo end >> sparse; mkfifo pipe
  echo six > owned; chown 54321:54322 owned; chmod 4711 owned; touch -d '2001-02-03 04:05:06.123456789' plain
  echo seven > acl; echo eight > attributes; perl -e '${setAttributes}'
  chmod 1777 deep; chown 4242:4242 deep/er .; chmod 750 .`

onKernel('data from one host to another', () => {
  let scratch: string
  let program: string
  let old: DataHost
  let fresh: DataHost
  const notes: string[] = []

  const world = (): World =>
    ({
      agents: new Map([
        [old.agent.host, old.agent],
        [fresh.agent.host, fresh.agent],
      ]),
      pairs: [{ a: name('new'), b: name('old'), ends: { old: old.tunnel, new: fresh.tunnel } }],
      progress: {
        begin: (_: string, what: string) =>
          Object.assign((result?: string) => void notes.push(`${what}: ${result}`), {
            update: (text: string) => notes.push(text),
          }),
        note: (_: string, text: string) => notes.push(text),
        detail: (_: string, text: string) => notes.push(text),
      },
    }) as unknown as World
  const there = (options: CopyOptions, of = service) => copyData(world(), of, name('old'), name('new'), options)
  const back = (options: CopyOptions, of = service) => copyData(world(), of, name('new'), name('old'), options)
  const only = (...directories: string[]): Service => ({ ...service, data: directories }) as Service

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'fleetmove-data-'))
    program = join(scratch, 'agent.cjs')
    await build({
      ...{
        entryPoints: [join(root, 'agent/main.ts')],
        bundle: true,
        platform: 'node',
        format: 'cjs',
        outfile: program,
      },
      ...{ external: ['netlink'], define: { FLEETMOVE_VERSION: '"0.0.0"' } },
    })
  })
  afterAll(() => rm(scratch, { recursive: true, force: true }))

  beforeEach(async () => {
    notes.length = 0
    process.env.NODE_PATH = join(root, 'node_modules')
    old = await DataHost.start('old', program)
    fresh = await DataHost.start('new', program)
    await old.host.join(fresh.host, 'eth0', 'eth0')
    for (const { host, side } of [old, fresh]) {
      await host.sh(`ip addr add ${addresses[side].link}/30 dev eth0; ip addr add ${addresses[side].other}/24 dev eth0
        ip addr add fd88::${side === 'old' ? 1 : 2}/126 dev eth0 nodad`)
    }
    await Promise.all([old.serve(), fresh.serve()])
  })
  afterEach(async () => {
    try {
      // Whatever happened in the test: no daemon, no secret, on neither host.
      for (const each of [old, fresh]) {
        await until(`nothing is left on ${each.side}`, 8000, async () => each.running('rsync').length === 0)
        expect(await each.host.exec('sh', '-c', 'ls -d /run/fleetmove/rsync-* 2>/dev/null || true; ss -Hltn')).toBe('')
      }
    } finally {
      await Promise.all([old.end(), fresh.end()])
    }
  })

  const plant = async (): Promise<void> => {
    for (const directory of [data, spool]) await old.host.exec('sh', '-ec', tree, 'sh', directory)
  }
  const expectSame = async (): Promise<void> => {
    for (const directory of [data, spool]) expect(await look(fresh, directory)).toBe(await look(old, directory))
  }

  test('a tree comes over whole, then only what has changed; and goes back the same way', async () => {
    await plant()
    const live = await there({ mode: 'live' })
    expect(live.passes.length).toBeGreaterThan(0)
    expect(live.passes[0]).toMatchObject({ notes: [], deletedFiles: 0 })
    await expectSame()
    // The comparison sees what it should: an ACL, an attribute, an owner that nobody has, two names of one file.
    const seen = await look(fresh, data)
    expect(seen).toMatch(/acl system\.posix_acl_access 02000000/)
    expect(seen).toContain('./attributes user.colour 677265656e')
    expect(seen).toContain('./attributes trusted.fleet 796573')
    expect(seen).toMatch(/^owned\|f\|4711\|54321\|54322/m)
    expect(seen).toMatch(/^linked\|f\|644\|0\|0\|[\d.]+\|2\|/m)
    expect(Number(await fresh.host.exec('stat', '-c', '%b', `${data}/sparse`)) * 512).toBeLessThan(1_000_000)

    await old.host.sh(
      `cd ${data}; rm 'a b'; rm -r deep/er; echo more >> plain; cp --remove-destination plain linked; mv pipe tube`,
    )
    const final = await there({ mode: 'final' })
    expect(final.passes).toHaveLength(1)
    expect(final.passes[0]!.deletedFiles).toBe(4)
    // 300 kB stand in both files: of plain only a block is new.
    expect(final.passes[0]!.literalBytes).toBeLessThan(310_000)
    await expectSame()
    expect(await writtenSince(world(), service, name('new'))).toEqual([])

    await fresh.host.sh(`cd ${data}; echo written on new > mail; rm plain`)
    await back({ mode: 'live' })
    await back({ mode: 'final' })
    await expectSame()
    expect(await old.host.exec('cat', `${data}/mail`)).toBe('written on new\n')
  })

  test('a hard link that the service breaks between passes stays broken', async () => {
    await old.host.sh(`mkdir ${data}; cd ${data}; head -c 100000 /dev/urandom > b; ln b a`)
    await there({ mode: 'live' }, only(data))
    await old.host.sh(`cd ${data}; head -c 100000 /dev/urandom > c; mv c a`)
    await there({ mode: 'final' }, only(data))
    expect(await look(fresh, data)).toBe(await look(old, data))
  })

  test('a file that was written to after it was read, with its size and time as before, is found all the same', async () => {
    await old.host.sh(
      `mkdir ${data}; head -c 1000 /dev/zero > ${data}/mapped; head -c 1000 /dev/zero > ${data}/older; touch -d '1 hour ago' ${data}/older`,
    )
    // As by a memory mapping: a time from after the pass began, and contents from after the file was read.
    const served = await old.agent.serveData({ service: 'mail', directories: [data], tunnel: 1, live: true })
    await old.host.sh(`touch ${data}/mapped`)
    await fresh.agent.pullData(request(served.access), () => {})
    served.stop()
    const time = (await old.host.exec('stat', '-c', '%y', `${data}/mapped`)).trim()
    await old.host.sh(`printf x | dd of=${data}/mapped conv=notrunc status=none; touch -d '${time}' ${data}/mapped`)
    const { passes } = await there({ mode: 'final' }, only(data))
    expect(passes[0]).toMatchObject({ transferredFiles: 1 })
    expect(await look(fresh, data)).toBe(await look(old, data))
  })

  test('files that grow and vanish while they are copied do no harm; passes come to an end', async () => {
    await old.host.sh(`mkdir -p ${data}/q`)
    const writer = old.host.spawn([
      'sh',
      '-c',
      `i=0; while :; do i=$((i+1)); echo "line $i" >> ${data}/log
      echo m > ${data}/q/$i; rm -f ${data}/q/$((i-20)); [ $i -lt 50 ] || sleep 0.002; done`,
    ])
    await until('the service writes', 5000, () => old.host.succeeds('test', '-s', `${data}/log`))
    const live = await there({ mode: 'live' }, only(data))
    expect(live.passes.length).toBeLessThanOrEqual(10)
    await writer.stop()
    await there({ mode: 'final' }, only(data))
    expect(await look(fresh, data)).toBe(await look(old, data))
  })

  test('what still writes after the stop is named', async () => {
    await old.host.sh(`mkdir ${data}`)
    const writer = old.host.spawn(['sh', '-c', `while :; do echo x >> ${data}/log; sleep 0.001; done`])
    await until('it writes', 5000, () => old.host.succeeds('test', '-s', `${data}/log`))
    await expect(there({ mode: 'final' }, only(data))).rejects.toMatchObject({
      ...{ code: 'verify', host: 'old', message: expect.stringMatching(/still differs .* log/) },
    })
    await writer.stop()
  })

  describe('interrupted', () => {
    const size = 24_000_000
    let progressed: DataProgress[]
    /** A copy that takes 12 s, and a word when it is under way. */
    const slowly = async (): Promise<{
      over: Promise<DataResult | Error>
      underWay: Promise<void>
      stop: () => void
    }> => {
      await old.host.sh(`mkdir ${data}; head -c ${size} /dev/urandom > ${data}/large; echo small > ${data}/a-small
        tc qdisc add dev eth0 root tbf rate 16mbit burst 64kb latency 50ms`)
      progressed = []
      const served = await old.agent.serveData({ service: 'mail', directories: [data], tunnel: 1, live: true })
      const over = fresh.agent
        .pullData(request(served.access), (progress) => void progressed.push(progress))
        .catch((error: Error) => error)
      const underWay = until('some of it is there', 10_000, async () =>
        progressed.some(({ bytes }) => bytes > 4_000_000),
      )
      return { over, underWay: underWay.then(() => {}), stop: served.stop }
    }
    const resumed = async (): Promise<DataResult> => {
      await old.host.sh('tc qdisc del dev eth0 root')
      const { passes } = await there({ mode: 'final' }, only(data))
      expect(await look(fresh, data)).toBe(await look(old, data))
      return passes[0]!
    }

    test('by its end: what had come of a file isn’t sent again', async () => {
      const { over, underWay, stop } = await slowly()
      await underWay
      expect(progressed.at(-1)).toMatchObject({ directory: data, filesKnown: 3, counted: true })
      expect(progressed.at(-1)!.bytesPerSecond).toBeGreaterThan(100_000)
      for (const { pid } of fresh.running('rsync')) process.kill(pid, 'SIGTERM')
      expect(await over).toBeInstanceOf(Error)
      stop()
      expect((await resumed()).literalBytes).toBeLessThan(size - 3_000_000)
    })

    test('by the death of the sending agent, without a chance to clean up', async () => {
      const { over, underWay } = await slowly()
      await underWay
      await old.killAgent()
      expect(await over).toMatchObject({
        code: 'tunnel',
        host: 'new',
        hint: expect.stringContaining('goes on where it was'),
      })
      await until('the daemon ended by itself', 8000, async () => old.running('rsync').length === 0)
      await old.serve()
      expect((await resumed()).literalBytes).toBeLessThan(size - 3_000_000)
    })

    test('by the death of the receiving agent', async () => {
      const { over, underWay, stop } = await slowly()
      await underWay
      await fresh.killAgent()
      expect(await over).toMatchObject({ code: 'unreachable' })
      await until('rsync ended by itself', 8000, async () => fresh.running('rsync').length === 0)
      stop()
      await fresh.serve()
      expect((await resumed()).literalBytes).toBeLessThan(size - 3_000_000)
    })

    test('by a call for the same service: the newer one takes over', async () => {
      const { over, underWay, stop } = await slowly()
      await underWay
      const newer = there({ mode: 'final' }, only(data))
      expect(await over).toMatchObject({ code: 'timeout', message: expect.stringContaining('was cancelled') })
      await old.host.sh('tc qdisc del dev eth0 root')
      await newer
      expect(await look(fresh, data)).toBe(await look(old, data))
      stop()
    })
  })

  const request = (access: ServedData['access'], change = {}) => {
    const pull = { service: 'mail', directories: [data], tunnel: 1, mode: 'live', overwrite: false }
    return { ...pull, ...access, ...change }
  }

  test('only the peer, only by the tunnel, only with the secret, which is in no command line', async () => {
    await old.host.sh(`mkdir ${data}; echo secret > ${data}/file`)
    const served = await old.agent.serveData({ service: 'mail', directories: [data], tunnel: 1, live: true })
    const { port, user, secret } = served.access
    expect(await old.host.exec('ss', '-Hltn')).toMatch(
      new RegExp(`^LISTEN\\s+\\d+\\s+\\d+\\s+10\\.88\\.0\\.1:${port}\\s[^\\n]*\\n$`),
    )
    const list = async (from: DataHost, address: string, password = secret, source?: string): Promise<string> => {
      const bind = source ? [`--address=${source}`] : []
      const argv = ['rsync', '--contimeout=3', ...bind, `rsync://${user}@${address}:${port}/d0/`]
      return from.host
        .exec('env', `RSYNC_PASSWORD=${password}`, ...argv)
        .catch((error: { stderr: string }) => error.stderr)
    }
    expect(await list(fresh, addresses.old.link)).toContain('file')
    expect(await list(fresh, addresses.old.other)).toContain('Connection refused')
    expect(await list(old, '127.0.0.1')).toContain('Connection refused')
    // To others it doesn't even say that there is such a module.
    expect(await list(old, addresses.old.link)).toContain('@ERROR: Unknown module')
    expect(await list(fresh, addresses.old.link, secret, addresses.new.other)).toContain('@ERROR: Unknown module')
    expect(await list(fresh, addresses.old.link, 'x'.repeat(43))).toContain('auth failed')
    // And it can't be written to.
    const writing = ['rsync', '/etc/hostname', `rsync://${user}@${addresses.old.link}:${port}/d0/`]
    await expect(fresh.host.exec('env', `RSYNC_PASSWORD=${secret}`, ...writing)).rejects.toThrow('read only')

    const wrong = fresh.agent.pullData(request(served.access, { secret: 'x'.repeat(43) }), () => {})
    await expect(wrong).rejects.toMatchObject({ code: 'tunnel', message: expect.stringContaining('auth failed') })
    await old.host.sh(
      `mkdir -p /srv/slow; head -c 8000000 /dev/urandom > ${data}/large; tc qdisc add dev eth0 root tbf rate 16mbit burst 64kb latency 50ms`,
    )
    let lines: string[] = []
    await fresh.agent.pullData(request(served.access), () => {
      lines = [...old.all(), ...fresh.all()].map(({ argv }) => argv.join(' '))
    })
    expect(lines.filter((line) => line.includes('rsync'))).not.toEqual([])
    expect(lines.filter((line) => line.includes(secret))).toEqual([])
    served.stop()
    await until('the port is closed', 8000, async () =>
      (await list(fresh, addresses.old.link)).includes('Connection refused'),
    )
    expect(await old.host.exec('grep', '-rlF', secret, '/run', '/var/lib').catch(() => '')).toBe('')
    expect(await fresh.host.exec('grep', '-rlF', secret, '/run', '/var/lib').catch(() => '')).toBe('')
  })

  describe('refuses to lose', () => {
    beforeEach(async () => {
      await old.host.sh(`mkdir -p ${data}/in; echo old > ${data}/in/mail`)
    })

    test('what another has put on the new host, unless told to', async () => {
      await fresh.host.sh(`mkdir -p ${data}/mine; echo precious > ${data}/mine/work`)
      await expect(there({ mode: 'live' }, only(data))).rejects.toMatchObject({
        ...{
          code: 'conflict',
          host: 'new',
          message: `${data} holds files that fleetmove didn't copy there: mine/work; the copy would remove or replace that`,
        },
      })
      expect(await fresh.host.exec('cat', `${data}/mine/work`)).toBe('precious\n')
      await there({ mode: 'live', overwrite: true }, only(data))
      // Now it is ours.
      await there({ mode: 'final' }, only(data))
      expect(await look(fresh, data)).toBe(await look(old, data))
    })

    test('but not empty directories, as a package makes them', async () => {
      await fresh.host.sh(`mkdir -p ${data}/in ${data}/out; mkfifo ${data}/pipe`)
      await there({ mode: 'final' }, only(data))
      expect(await look(fresh, data)).toBe(await look(old, data))
    })

    test('what a start that failed has written on the new host', async () => {
      await there({ mode: 'final' }, only(data))
      await expect(refuseLostData(world(), only(data), name('new'))).resolves.toBeUndefined()
      await fresh.host.sh(`echo accepted > ${data}/in/new-mail`)
      expect(await writtenSince(world(), only(data), name('new'))).toEqual([
        { path: data, names: expect.arrayContaining(['in', 'in/new-mail']), total: 2 },
      ])
      await expect(refuseLostData(world(), only(data), name('new'))).rejects.toMatchObject({
        code: 'conflict',
        host: 'new',
      })
      await expect(there({ mode: 'live' }, only(data))).rejects.toMatchObject({
        ...{ code: 'conflict', message: expect.stringContaining('was written to since the last copy: ') },
      })
      expect(await fresh.host.exec('cat', `${data}/in/new-mail`)).toBe('accepted\n')
    })

    test('what the old host has written since, when a move is given up before its last copy', async () => {
      await there({ mode: 'live' }, only(data))
      await old.host.sh(`echo later > ${data}/in/later`)
      expect(await back({ mode: 'final' }, only(data))).toEqual({ passes: [] })
      expect(await old.host.exec('cat', `${data}/in/later`)).toBe('later\n')
      // Unless somebody has worked on the new host: then neither has all.
      await fresh.host.sh(`echo work > ${data}/work`)
      await expect(back({ mode: 'final' }, only(data))).rejects.toMatchObject({ code: 'conflict', host: 'old' })
    })

    test.each([
      ['changed, with its old time', `t=$(stat -c %y in/mail); echo new > in/mail; touch -d "$t" in/mail`, 'in/mail'],
      ['removed', 'rm in/mail', 'in'],
      ['moved in', 'mkdir -p /srv/x; touch -d 2001-01-01 /srv/x/y; mv /srv/x/y in/y', 'in'],
      ['given away', 'chown 7 in/mail', 'in/mail'],
    ])('on the way back what was %s on the old host', async (_, script, named) => {
      await there({ mode: 'final' }, only(data))
      await old.host.sh(`cd ${data}; ${script}`)
      await expect(back({ mode: 'live' }, only(data))).rejects.toMatchObject({
        ...{ code: 'conflict', host: 'old', message: expect.stringContaining(named) },
      })
    })

    test('the original, to a file system that isn’t mounted', async () => {
      await there({ mode: 'final' }, only(data))
      await fresh.host.sh(`mv ${data} /srv/elsewhere; mkdir ${data}`)
      await expect(back({ mode: 'live' }, only(data))).rejects.toMatchObject({
        ...{ code: 'conflict', host: 'old', message: expect.stringContaining('nothing in it on the other host') },
      })
      expect(await old.host.exec('cat', `${data}/in/mail`)).toBe('old\n')
    })
  })

  test('does not copy what it must not', async () => {
    await old.host.sh('touch /srv/file; ln -s /etc /srv/link')
    for (const [directory, code, message] of [
      ['/srv/absent', 'preflight', /isn't there/],
      ['/srv/file', 'preflight', /no directory/],
      ['/etc', 'preflight', /belongs to the system/],
      ['/srv/link', 'preflight', /\/srv\/link \(\/etc\) belongs to the system/],
      ['/var/lib/fleetmove', 'preflight', /own files/],
      ['/srv/../etc', 'invalid', /directories/],
      ['/srv/a\n[x]', 'invalid', /directories/],
    ] as const) {
      const said = await there({ mode: 'live' }, only(directory)).catch((error: unknown) => error)
      const expected = { code, message: expect.stringMatching(message) }
      expect({ directory, said }).toEqual({ directory, said: expect.objectContaining(expected) })
    }
  })

  test('a full disk is named', async () => {
    await old.host.sh(`mkdir ${data}; head -c 3000000 /dev/urandom > ${data}/large`)
    await fresh.host.sh(`mkdir ${data}; mount -t tmpfs -o size=1m none ${data}`)
    await expect(there({ mode: 'live' }, only(data))).rejects.toMatchObject({
      ...{
        code: 'kernel',
        message: expect.stringContaining('No space left'),
        hint: expect.stringContaining('make room'),
      },
    })
  })
})
