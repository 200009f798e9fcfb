import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { dirname } from 'node:path'
import { labCommand } from '../../cli/commands/lab.js'
import { labDown } from '../../cli/lab/down.js'
import { labExec, openLab } from '../../cli/lab/lab.js'
import { labPreflight } from '../../cli/lab/preflight.js'
import { readState, stateDir } from '../../cli/lab/state.js'
import { labStatus } from '../../cli/lab/status.js'
import { hostNames, labTopology, publicAddresses } from '../../cli/lab/topology.js'
import { labUp, type StartedLab } from '../../cli/lab/up.js'

const root = process.platform === 'linux' && process.getuid?.() === 0
if (!root) console.warn('Skipped: the practice network makes namespaces, which needs root on Linux')
const withRoot = root ? describe : describe.skip

jest.setTimeout(60_000)

const name = `test-${process.pid}`
const other = `test2-${process.pid}`

/** The machine's pids whose network namespace is one of `namespaces`. */
function processesIn(namespaces: Set<string>): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return namespaces.has(readlinkSync(`/proc/${pid}/ns/net`))
      } catch {
        return false
      }
    })
}

function networkNamespaces(lab: string): Set<string> {
  const state = readState(lab)
  const pids = [state?.init?.pid, ...Object.values(state?.hosts ?? {}).map((host) => host.pid)]
  return new Set(pids.map((pid) => readlinkSync(`/proc/${pid}/ns/net`)))
}

async function waitFor(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 15_000
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

withRoot('the practice network', () => {
  let lab: StartedLab
  const run = async (host: string, ...argv: string[]) => lab.exec(host, argv, { timeoutMs: 15_000 })
  const shell = async (host: string, script: string) => run(host, 'sh', '-c', script)

  beforeAll(async () => {
    lab = await labUp({ name, timeoutMs: 30_000 })
  })
  afterAll(async () => {
    await labDown(name)
    await labDown(other)
  })

  test('starts within seconds, and a second start finds it and changes nothing', async () => {
    const before = readFileSync(`${stateDir(name)}/lab.json`, 'utf8')
    const { startedAt } = JSON.parse(before) as { startedAt: string }
    const baseline = JSON.parse(before) as { hosts: Record<string, { pid: number }> }
    expect(lab.started).toBe(true)
    expect(Object.keys(baseline.hosts).sort()).toEqual(hostNames(labTopology).sort())
    const again = await labUp({ name })
    expect(again.started).toBe(false)
    expect(readFileSync(`${stateDir(name)}/lab.json`, 'utf8')).toBe(before)
    expect(Date.parse(startedAt)).toBeLessThanOrEqual(Date.now())
    const begun = performance.now()
    await labUp({ name: other })
    expect(performance.now() - begun).toBeLessThan(15_000)
    await labDown(other)
  })

  test('clients reach every host by every public address, both families', async () => {
    const addresses = hostNames(labTopology).flatMap((host) => publicAddresses(labTopology, host))
    const pings = ['client1', 'client2', 'controller'].flatMap((from) =>
      addresses.map(async (to) => ({ from, to, ...(await run(from, 'ping', '-n', '-c1', '-W5', to)) })),
    )
    const failed = (await Promise.all(pings)).filter((ping) => ping.code !== 0)
    expect(failed).toEqual([])
  })

  test('new2 has its public address one to one at the router, both ways', async () => {
    await shell('new2', 'nginx')
    expect((await shell('client1', 'curl -sS http://198.51.100.20/')).stdout).toMatch(/^new2 198\.18\.0\.11 \d+\n$/)
    expect((await shell('new1', 'curl -sS http://198.51.100.20/')).stdout).toMatch(/^new2 198\.51\.100\.10 \d+\n$/)
    expect((await shell('new2', 'curl -sS http://203.0.113.10/')).stdout).toMatch(/^old1 198\.51\.100\.20 \d+\n$/)
    expect((await shell('new2', 'ip -4 -br addr show eth0')).stdout).toMatch(/10\.0\.0\.20\/24/)
    expect((await shell('client1', 'ping -n -c1 -W1 10.0.0.20')).code).toBe(1)
    await shell('new2', 'nginx -s quit')
  })

  test('nginx on the old hosts tells host and true client, both families; on the new ones it waits', async () => {
    for (const [client, v4, v6] of [
      ['client1', '198.18.0.11', '2001:db8:c::11'],
      ['client2', '198.18.0.12', '2001:db8:c::12'],
    ] as const)
      for (const host of ['old1', 'old2'])
        for (const address of publicAddresses(labTopology, host)) {
          const url = address.includes(':') ? `http://[${address}]/` : `http://${address}/`
          const { stdout } = await run(client, 'curl', '-sS', url)
          expect(stdout.replace(/\d+\n$/, '')).toBe(`${host} ${address.includes(':') ? v6 : v4} `)
        }
    expect((await shell('client1', 'curl -sS http://198.51.100.10/')).code).toBe(7)
    const sizes = await shell('client1', "curl -sS -o /dev/null -w '%{size_download}' http://203.0.113.10/big")
    expect(sizes.stdout).toBe('8388608')
  })

  test('the controller logs in, strictly, as root, deploy and ops; sudo asks ops for the password', async () => {
    for (const host of ['old1', 'old2', 'new1', 'new2', 'client1', 'client2']) {
      const { code, stdout, stderr } = await shell('controller', `ssh ${host} 'hostname; id -un'`)
      expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: `${host}\nroot\n`, stderr: '' })
    }
    expect((await shell('controller', 'ssh root@2001:db8:b2::20 hostname')).stdout).toBe('new2\n')
    expect((await shell('controller', 'ssh deploy@new1 sudo -n id -un')).stdout).toBe('root\n')
    const refused = await shell('controller', 'ssh ops@new1 sudo -n id -un')
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain('password is required')
    const asked = await lab.exec('controller', ['ssh', 'ops@new1', 'sudo -S -p "" id -un'], {
      input: `${lab.opsPassword}\n`,
      timeoutMs: 15_000,
    })
    expect(asked.stdout).toBe('root\n')
    expect(labStatus(name).opsPassword).toBe(lab.opsPassword)
    await shell('controller', "sed -i 's/ AAAA[^ ]*/ AAAAC3NzaC1lZDI1NTE5AAAAIAAA/' /root/.ssh/known_hosts")
    expect((await shell('controller', 'ssh -o BatchMode=yes old1 true')).stderr).toContain('verification failed')
  })

  test('hosts are strict about reverse paths and forward nothing; the router forwards', async () => {
    const keys = 'net.ipv4.conf.{all,default,eth0}.rp_filter net.ipv4.ip_forward net.ipv6.conf.{all,eth0}.forwarding'
    for (const host of ['old1', 'new1', 'new2', 'client1'])
      expect((await run(host, 'bash', '-c', `sysctl -n ${keys}`)).stdout).toBe('1\n1\n1\n0\n0\n0\n')
    const router = await run('router', 'sysctl', '-n', 'net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding')
    expect(router.stdout).toBe('1\n1\n')
  })

  test("old and new hosts have no Node; no host sees the machine's own keys or devices", async () => {
    for (const host of ['old1', 'old2', 'new1', 'new2']) expect((await run(host, 'which', 'node')).code).toBe(1)
    expect((await run('controller', 'node', '-p', '6 * 7')).stdout).toBe('42\n')
    expect((await shell('old1', 'ls -A /root/.ssh /sys/class/net')).stdout).toBe(
      '/root/.ssh:\nauthorized_keys\n\n/sys/class/net:\neth0\nlo\n',
    )
    expect((await run('new1', 'hostname')).stdout).toBe('new1\n')
    expect((await shell('new1', 'echo x >/proc/sys/kernel/hostname')).code).not.toBe(0)
  })

  test('changedFiles lists what is added, changed and removed, and not what was only touched', async () => {
    expect(await lab.changedFiles('new1')).toEqual([])
    await shell(
      'new1',
      `mkdir /usr/local/lib/thing; echo four >/usr/local/lib/thing/file; echo more >>/etc/services; rm /etc/shells
       touch /etc/protocols; chmod 600 /etc/hosts; echo x >/tmp/left; mkdir /opt/gone; rmdir /opt/gone; rm /etc/hostname`,
    )
    const services = Number((await shell('new1', 'stat -c %s /etc/services')).stdout)
    const hosts = Number((await shell('new1', 'stat -c %s /etc/hosts')).stdout)
    expect(await lab.changedFiles('new1')).toEqual([
      { path: '/etc/hostname', change: 'removed', size: 0 },
      { path: '/etc/hosts', change: 'changed', size: hosts },
      { path: '/etc/services', change: 'changed', size: services },
      { path: '/etc/shells', change: 'removed', size: 0 },
      { path: '/tmp/left', change: 'added', size: 2 },
      { path: '/usr/local/lib/thing', change: 'added', size: 0 },
      { path: '/usr/local/lib/thing/file', change: 'added', size: 5 },
    ])
    expect(await lab.changedFiles('client2')).toEqual([])
    expect(existsSync('/usr/local/lib/thing')).toBe(false)
  })

  test('hostState is the same text while nothing changes, and shows what does', async () => {
    const before = await lab.hostState('old2')
    expect(await lab.hostState('old2')).toBe(before)
    expect(before).toContain('2001:db8:a::20/64')
    for (const change of [
      'ip route add 192.168.77.0/24 via 203.0.113.1 table 77; ip route del table 77 192.168.77.0/24',
      'nft add table inet fleetmove; nft delete table inet fleetmove',
      'ip rule add fwmark 7 lookup 77; ip rule del fwmark 7 lookup 77',
      'sysctl -qw net.ipv4.conf.eth0.rp_filter=2; sysctl -qw net.ipv4.conf.eth0.rp_filter=1',
      'ip link add br9 type bridge; ip link del br9',
    ]) {
      const [make, undo] = change.split('; ') as [string, string]
      await shell('old2', make)
      expect(await lab.hostState('old2')).not.toBe(before)
      await shell('old2', undo)
    }
    // The deleted device's number is used up, and only that: nothing prints it any more.
    expect(await lab.hostState('old2')).toBe(before)
    const sleeper = lab.spawn('old2', ['sleep', '1000'])
    await waitFor('the process', async () => (await lab.hostState('old2')).split('\n').includes('sleep'))
    const closed = new Promise((resolve) => sleeper.on('close', resolve))
    sleeper.kill()
    await closed
    await waitFor('its end', async () => (await lab.hostState('old2')) === before)
  })

  test('a command gets its input and environment, gives its code, and is killed when its time is over', async () => {
    expect(
      await lab.exec('new2', ['sh', '-c', 'cat; echo $WORD >&2; exit 9'], { input: 'in', env: { WORD: 'w' } }),
    ).toEqual({ code: 9, stdout: 'in', stderr: 'w\n' })
    expect((await shell('new2', 'kill -9 $$')).code).toBe(137)
    await expect(lab.exec('new2', ['sleep', '999'], { timeoutMs: 300 })).rejects.toMatchObject({ code: 'timeout' })
    await waitFor('its end', async () => (await run('new2', 'pgrep', '-x', 'sleep')).code === 1)
    const trap = lab.spawn('new2', ['sh', '-c', 'trap "exit 5" USR1; echo set; while :; do sleep 0.05; done'])
    await new Promise((resolve) => trap.stdout?.once('data', resolve))
    trap.kill('SIGUSR1')
    expect(await new Promise((resolve) => trap.on('close', resolve))).toBe(5)
    await expect(labExec(name, 'nowhere', ['true'])).rejects.toThrow('no host "nowhere"')
  })

  test('cut drops everything between two hosts, heal undoes it', async () => {
    const reaches = async (to: string) => (await run('old1', 'ping', '-n', '-c1', '-W1', to)).code === 0
    await lab.cut('old1', 'new2')
    expect([await reaches('198.51.100.20'), await reaches('2001:db8:b2::20'), await reaches('198.51.100.10')]).toEqual([
      false,
      false,
      true,
    ])
    await lab.heal('new2', 'old1')
    expect([await reaches('198.51.100.20'), await reaches('2001:db8:b2::20')]).toEqual([true, true])
    await expect(lab.cut('old1', 'old2')).rejects.toMatchObject({ code: 'usage' })
  })

  test('reboot takes a host and its kernel state away; its disk, addresses and what it served are kept', async () => {
    const before = await lab.hostState('old1')
    const bootId = async () => (await shell('old1', 'cat /proc/sys/kernel/random/boot_id')).stdout
    const earlier = await bootId()
    await shell(
      'old1',
      'echo kept >/etc/mark; echo gone >/run/mark; nft add table inet foreign; ip rule add fwmark 7 table 7',
    )
    const sleeper = lab.spawn('old1', ['sleep', '1000'])
    const ended = new Promise((resolve) => sleeper.on('close', resolve))
    await lab.reboot('old1')
    await ended
    expect(await lab.hostState('old1')).toBe(before)
    expect(await bootId()).not.toBe(earlier)
    expect((await shell('old1', 'cat /etc/mark /run/mark')).stdout).toBe('kept\n')
    await shell('old1', 'rm /etc/mark')
    expect(await lab.changedFiles('old1')).toEqual([expect.objectContaining({ path: '/run/nginx.pid' })])
    expect((await run('client1', 'curl', '-sS', 'http://203.0.113.10/healthz')).stdout).toBe('ok\n')
    const ssh = ['ssh', '-o', 'StrictHostKeyChecking=no', 'old1', 'true']
    expect((await run('controller', ...ssh)).code).toBe(0)
    await expect(lab.reboot('router')).rejects.toMatchObject({ code: 'usage' })
  })

  test('two labs run side by side with the same addresses', async () => {
    const second = await labUp({ name: other })
    await second.exec('old1', ['sh', '-c', 'echo second >/etc/mark'])
    const read = async (of: StartedLab) => (await of.exec('controller', ['ssh', 'old1', 'cat /etc/mark'])).stdout
    expect([await read(lab), await read(second)]).toEqual(['', 'second\n'])
    await labDown(other)
    expect((await run('client1', 'curl', '-sS', 'http://203.0.113.10/healthz')).stdout).toBe('ok\n')
  })

  test('kill -9 of its init ends everything; up starts anew, down leaves nothing', async () => {
    for (const clean of ['up', 'down'] as const) {
      const second = await labUp({ name: other })
      const namespaces = networkNamespaces(other)
      const attached = second.spawn('old1', ['sleep', '1000'])
      const closed = new Promise((resolve) => attached.on('close', resolve))
      expect(processesIn(namespaces).length).toBeGreaterThan(15)
      process.kill(readState(other)?.init?.pid as number, 'SIGKILL')
      await waitFor('the processes to end', () => processesIn(namespaces).length === 0)
      await closed
      expect(labStatus(other).state).toBe('dead')
      expect(() => openLab(other)).toThrow(`"${other}" doesn't run`)
      if (clean === 'up') expect((await labUp({ name: other })).started).toBe(true)
      await labDown(other)
      expect(existsSync(stateDir(other))).toBe(false)
      expect(readdirSync(dirname(stateDir(name))).filter((entry) => entry.includes(other))).toEqual([])
      expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(other)
    }
    expect(await labDown(other)).toBe(false)
  })

  test('down of a running lab leaves no process, and the machine saw no device of it', async () => {
    await labUp({ name: other })
    const namespaces = networkNamespaces(other)
    expect(namespaces.has(readlinkSync('/proc/self/ns/net'))).toBe(false)
    for (const host of hostNames(labTopology)) expect(readdirSync('/sys/class/net')).not.toContain(host)
    expect(await labDown(other)).toBe(true)
    expect(processesIn(namespaces)).toEqual([])
    expect(labStatus(other).state).toBe('none')
  })

  test('a lab whose start fails leaves nothing', async () => {
    await expect(labUp({ name: other, timeoutMs: 1 })).rejects.toThrow("doesn't start")
    expect(labStatus(other).state).toBe('none')
    expect(existsSync(stateDir(other))).toBe(false)
  })

  test('who is not root is told so; a name that is none is refused', async () => {
    const getuid = jest.spyOn(process, 'getuid' as never).mockReturnValue(1000 as never)
    await expect(labPreflight()).rejects.toMatchObject({ code: 'preflight', message: expect.stringContaining('root') })
    getuid.mockRestore()
    await expect(labUp({ name: '../x' })).rejects.toMatchObject({ code: 'usage' })
  })

  test('the command prints status as JSON and as a table, and passes exit codes on', async () => {
    const printed: string[] = []
    const write = jest.spyOn(process.stdout, 'write').mockImplementation((text) => {
      printed.push(String(text))
      return true
    })
    const before = process.exitCode
    try {
      await labCommand().parseAsync(['status', '--name', name, '--json'], { from: 'user' })
      await labCommand().parseAsync(['status', '--name', name], { from: 'user' })
      await labCommand().parseAsync(['exec', '--name', name, 'old1', '--', 'sh', '-c', 'exit 42'], { from: 'user' })
    } finally {
      write.mockRestore()
    }
    const code = process.exitCode
    process.exitCode = before
    expect(code).toBe(42)
    const status = JSON.parse(printed[0] as string) as ReturnType<typeof labStatus>
    expect(status.hosts.filter((host) => host.sshd).map((host) => host.name)).toEqual([
      'client1',
      'client2',
      'old1',
      'old2',
      'new1',
      'new2',
    ])
    expect(printed[1]).toMatch(/^new2 +\d+ +up +198\.51\.100\.20 2001:db8:b2::20$/m)
  })
})
