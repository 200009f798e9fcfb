/** A unit is told apart by its cgroup, and still when it has restarted and its cgroup is another one. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { checkEgress } from '../../agent/flows/check-egress.js'
import { EgressKeeper } from '../../agent/flows/egress-keeper.js'
import { ListeningProcesses } from '../../agent/flows/listening-processes.js'
import { cgroupMount } from '../../agent/kernel/cgroup-mount.js'
import { loadText, readCounter } from '../../agent/kernel/nft.js'
import { declareOwnSets, leaveOwn } from '../../agent/plan/egress.js'
import { table } from '../../agent/plan/own.js'
import type { HostSpec, ServiceSpec } from '../../proto/model/host-spec.js'
import { inOwnNamespace, isInOwnNamespace, saySkipped } from './netns.js'

const mounted = /^\S+ \/sys\/fs\/cgroup(\/\S+)? cgroup2 /m.test(readFileSync('/proc/self/mounts', 'utf8'))
if (!mounted && !isInOwnNamespace) saySkipped('egress by unit', 'no cgroup2 below /sys/fs/cgroup')

if (!mounted) test.skip('egress by unit', () => {})
else
  inOwnNamespace(__filename, () => {
    const slice = `fmtest${process.ppid}x${process.pid}`
    const services = [{ egress: { tunnel: 1, unit: 'mail.service' } }] as unknown as ServiceSpec[]
    const spec = { services } as unknown as HostSpec
    const listening = new ListeningProcesses()
    const keeper = new EgressKeeper(() => {}, listening)
    let directory: string
    const failures: string[] = []
    const children: ChildProcess[] = []

    const begin = (unit = 'mail.service'): void => {
      mkdirSync(`${directory}/${unit}`)
    }
    const stop = async (unit = 'mail.service'): Promise<void> => {
      // The kernel lets go of a process a moment after its end.
      for (let i = 0; readFileSync(`${directory}/${unit}/cgroup.procs`, 'utf8') !== '' && i < 100; i++) await delay(20)
      rmdirSync(`${directory}/${unit}`)
    }
    /** Opens a connection as a process of that cgroup (none: of no unit), and tells whether it was chosen. */
    const chosen = async (cgroup: string): Promise<boolean> => {
      const before = await readCounter('chosen')
      const enter = cgroup === '' ? '' : `echo $$ >${directory}/${cgroup}/cgroup.procs;`
      execFileSync('bash', ['-c', `${enter} exec 3<>/dev/udp/198.18.0.1/9 && echo x >&3`])
      return (await readCounter('chosen')) > before
    }
    const until = async (cgroup: string): Promise<void> => {
      for (let i = 0; i < 200; i++) {
        if (await chosen(cgroup)) return
        await delay(20)
      }
      throw new Error(`${cgroup} was never chosen; ${failures.join('; ')}`)
    }

    beforeAll(async () => {
      const { path } = await cgroupMount()
      directory = `${path}/${slice}.slice`
      mkdirSync(directory)
      mkdirSync(`${directory}/other.service`)
      execFileSync('mount', ['-t', 'tmpfs', 'none', '/usr/local/sbin'])
      // As `systemctl show` prints them, of a unit and what is part of it; --value: of that alone.
      const shown = ['mail.service', 'mail@-.service'].map((id) => `Id=${id}\nSlice=${slice}.slice\nControlGroup=`)
      writeFileSync(
        '/usr/local/sbin/systemctl',
        `#!/bin/sh\ncase "$*" in *--value*) echo mail@-.service; exit ;; esac\ncat <<'END'\n${shown.join('\n\n')}\nEND\n`,
        { mode: 0o755 },
      )
      execFileSync('ip', ['route', 'add', '198.18.0.0/15', 'dev', 'lo'])
      const rules = leaveOwn(services, [], () => 'counter name "chosen"').filter((rule) =>
        /^(socket|meta skuid) /.test(rule),
      )
      await loadText(
        '/run/fleetmove',
        [
          `add table inet ${table}`,
          `add counter inet ${table} chosen`,
          ...declareOwnSets(services),
          `add chain inet ${table} out { type route hook output priority mangle; }`,
          ...rules.map((rule) => `add rule inet ${table} out ${rule}`),
          '',
        ].join('\n'),
      )
      await keeper.follow(spec)
    })
    afterAll(async () => {
      keeper.close()
      for (const child of children) child.kill('SIGKILL')
      for (const each of readdirSync(directory, { withFileTypes: true }))
        if (each.isDirectory()) rmdirSync(`${directory}/${each.name}`)
      rmdirSync(directory)
      execFileSync('umount', ['/usr/local/sbin'])
    })

    test('a unit that starts after the agent, and again: its connections are chosen, and nobody else’s', async () => {
      expect(await chosen('other.service')).toBe(false)
      expect(await chosen('')).toBe(false)
      for (let restart = 0; restart < 3; restart++) {
        begin()
        await until('mail.service')
        expect(await chosen('mail.service')).toBe(true)
        expect(await chosen('other.service')).toBe(false)
        await stop()
      }
    })

    test('so are those of a unit that is part of it', async () => {
      begin('mail@-.service')
      await until('mail@-.service')
      expect(await chosen('other.service')).toBe(false)
      await stop('mail@-.service')
    })

    test('also in a table that was made anew', async () => {
      begin()
      await until('mail.service')
      await loadText('/run/fleetmove', `flush set inet ${table} leaving-cgroups-1\n`)
      expect(await chosen('mail.service')).toBe(false)
      keeper.renew()
      await until('mail.service')
      await stop()
    })

    describe('whoever listens', () => {
      const port = 7025
      const services = [
        {
          name: 'mail',
          routes: [{ protocol: 'tcp', ports: { from: port, to: port }, action: { kind: 'serve', port: 0 } }],
          egress: { tunnel: 1, listeners: true },
        },
      ]
      const follow = (): Promise<void> => keeper.follow({ services } as unknown as HostSpec)
      /** @returns when it listens */
      const listen = async (command: string): Promise<ChildProcess> => {
        const child = spawn('bash', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'] })
        children.push(child)
        await once(child.stdout, 'data')
        return child
      }
      const server = `perl -MIO::Socket::INET -e '$| = 1; $< = $> = $ARGV[0]; my $s = IO::Socket::INET->new(LocalPort => ${port}, Listen => 5, ReuseAddr => 1) or die $!; print "listens"; sleep 300'`
      const asUser = async (uid: number): Promise<boolean> => {
        const before = await readCounter('chosen')
        execFileSync('setpriv', [
          '--reuid',
          String(uid),
          '--clear-groups',
          '--',
          'bash',
          '-c',
          'echo x >/dev/udp/198.18.0.1/9',
        ])
        return (await readCounter('chosen')) > before
      }
      const end = async (child: ChildProcess): Promise<void> => {
        const ended = once(child, 'exit')
        child.kill()
        await ended
      }

      test('by its unit, and by no other; after its end the set is empty again', async () => {
        const child = await listen(`echo $$ >${directory}/other.service/cgroup.procs; exec ${server} 0`)
        await follow()
        expect(await chosen('other.service')).toBe(true)
        expect(await chosen('')).toBe(false)
        await end(child)
        await follow()
        expect(await chosen('other.service')).toBe(false)
      })

      test('without a unit by its user', async () => {
        const child = await listen(`echo $$ >${directory}/../cgroup.procs; exec ${server} 65534`)
        await follow()
        expect(await asUser(65534)).toBe(true)
        expect(await asUser(65533)).toBe(false)
        expect(await asUser(0)).toBe(false)
        await end(child)
      })

      test('root without a unit is refused before anything changes', async () => {
        const child = await listen(`echo $$ >${directory}/../cgroup.procs; exec ${server} 0`)
        await expect(checkEgress({ services } as unknown as HostSpec, listening)).rejects.toMatchObject({
          code: 'preflight',
          message: expect.stringMatching(
            /^what mail opens itself can't be told apart: perl \(process \d+, root\) runs in /,
          ),
          hint: expect.stringContaining('egress_from: of mail'),
        })
        await end(child)
        await checkEgress({ services } as unknown as HostSpec, listening)
      })
    })

    test('a host that has nothing to choose any more is let be', async () => {
      await keeper.follow({ services: [] } as unknown as HostSpec)
      begin()
      await delay(100)
      expect(await chosen('mail.service')).toBe(false)
      await stop()
    })
  })
