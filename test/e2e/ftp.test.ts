/** FTP by both addresses of a move: active and passive, IPv4 and IPv6, with vsftpd and curl. */
import { spawnSync } from 'node:child_process'
import { Practice, until, withRoot } from './practice.js'

jest.setTimeout(300_000)

const [old4, old6] = ['203.0.113.10', '2001:db8:a::10']
const [new4, new6] = ['198.51.100.10', '2001:db8:b::10']

const missing = ['vsftpd', 'curl'].filter((tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0)
if (missing.length > 0)
  process.stderr.write(`skipped: FTP through the forward: ${missing.join(' and ')} not installed\n`)

const fleet = {
  fleet: 'ftp',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: {
    ftp: { from: 'old1', to: 'new1', listen: [{ port: 'tcp/21', helper: 'ftp' }], drain: '1s' },
  },
}

;(missing.length > 0 ? describe.skip : withRoot)('FTP', () => {
  let practice: Practice

  beforeAll(async () => {
    practice = await Practice.start('ftp')
    for (const host of ['old1', 'new1']) {
      // Readable files of the host's own, and nothing that the machine shares with it.
      await practice.shell(
        host,
        `mkdir -p /run/ftp/root /run/ftp/empty && chmod 755 /run/ftp /run/ftp/root && echo "file of ${host}" >/run/ftp/root/name
cat >/run/ftp/conf <<'END'
listen_ipv6=YES
anonymous_enable=YES
anon_root=/run/ftp/root
secure_chroot_dir=/run/ftp/empty
connect_from_port_20=YES
seccomp_sandbox=NO
isolate_network=NO
background=NO
END`,
      )
      practice.spawn(host, ['vsftpd', '/run/ftp/conf'])
      await until('vsftpd', async () => (await practice.shell(host, 'ss -Hltn sport = 21')) !== '')
    }
    await practice.fleet(fleet)
    await practice.must('up', '--json')
  })
  afterAll(() => practice?.end())

  /** Fetches the file in all four ways by every address. */
  async function expectAll(active: string): Promise<void> {
    const seen: Record<string, string> = {}
    const expected: Record<string, string> = {}
    for (const address of [old4, new4, old6, new6]) {
      const url = `ftp://${address.includes(':') ? `[${address}]` : address}/name`
      // The old commands (PASV, PORT) know IPv4 alone.
      const old = address.includes(':') ? [] : ['--disable-epsv', '--disable-eprt -P -']
      for (const mode of ['', '-P -', ...old]) {
        const { stdout, stderr } = await practice.lab.exec('client1', ['sh', '-c', `curl -sS -m 8 ${mode} '${url}'`], {
          timeoutMs: 15_000,
        })
        seen[`${address} ${mode}`] = stdout.trim() || stderr.trim()
        expected[`${address} ${mode}`] = `file of ${active}`
      }
    }
    expect(seen).toEqual(expected)
  }

  test('before the move', () => expectAll('old1'))
  test('after the move', async () => {
    await practice.must('advance', '--all', '--json')
    await expectAll('new1')
  })
  test('and back', async () => {
    await practice.must('rollback', 'ftp', '--json')
    await expectAll('old1')
  })
})
