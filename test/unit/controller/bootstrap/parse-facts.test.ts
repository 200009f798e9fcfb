import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseFacts } from '../../../../controller/bootstrap/parse-facts.js'

/** Recorded by the script itself, in a scratch network namespace. */
const recorded = (name: string): string => readFileSync(join(__dirname, 'facts', `${name}.txt`), 'utf8')
const parse = (...lines: string[]) => {
  const facts = parseFacts([...lines, 'end\tend'].join('\n'))
  if (facts === undefined) throw new Error('not parsed')
  return facts
}

describe('parseFacts', () => {
  it('reads a Debian 12 host as root', () => {
    expect(parseFacts(recorded('debian-12-root'))).toMatchObject({
      hostname: 'old1',
      system: 'Linux',
      kernel: { release: '6.18.44', major: 6, minor: 18 },
      arch: 'x86_64',
      libc: { kind: 'glibc', version: '2.36' },
      uid: 0,
      os: { id: 'debian', like: [], version: '12', name: 'Debian GNU/Linux 12 (bookworm)' },
      systemd: false,
      tools: {
        nft: { path: '/usr/sbin/nft', version: '1.0.6' },
        ip: { path: '/usr/sbin/ip', version: '6.1.0' },
        openvpn: { path: '/usr/sbin/openvpn', version: '2.6.14' },
        wg: { version: '1.0.20210914' },
        'wireguard-go': { version: '0.0.20220316' },
        gzip: { version: '1.12' },
        sha256sum: { version: '9.1' },
      },
      tun: { available: 'yes', reason: '' },
      wireguard: { available: 'no', reason: 'Error: Unknown device type.' },
      vxlan: { available: 'yes', reason: '' },
      nft: {
        inetNat: { available: 'yes' },
        originalZone: { available: 'yes' },
        fib: { available: 'yes' },
        concatMap: { available: 'yes' },
      },
      queue: { nft: { available: 'no' }, xtables: { available: 'yes', reason: '' } },
      sysctls: { 'net.ipv4.conf.all.send_redirects': '1', 'net.ipv4.conf.eth0.rp_filter': '1' },
      addresses: expect.arrayContaining([
        { device: 'lo', address: '127.0.0.1', prefix: 8, scope: 'host' },
        { device: 'peer0', address: '10.9.0.1', prefix: 30, scope: 'global' },
        { device: 'eth0', address: '203.0.113.10', prefix: 24, scope: 'global' },
        { device: 'eth0', address: '2001:db8:a::10', prefix: 64, scope: 'global' },
        { device: 'eth0', address: 'fe80::2818:f5ff:fe99:d267', prefix: 64, scope: 'link' },
      ]),
      defaultRoutes: [
        { family: 4, device: 'eth0', gateway: '203.0.113.1' },
        { family: 6, device: 'eth0', gateway: 'fe80::1' },
      ],
      links: [
        { name: 'lo', mtu: 65536 },
        { name: 'peer0', mtu: 1500 },
        { name: 'eth0', mtu: 1400 },
      ],
      bootId: '51f2d7cb-f832-470c-86c5-97c56d8d70cd',
      conntrack: { count: 0, max: 262144 },
      installed: { directory: false, socket: false, ledger: false, runningAgent: '', runningRuntime: '' },
    })
    expect(parseFacts(recorded('debian-12-root'))?.disk.usrLocalKib).toBeGreaterThan(0)
    expect(parseFacts(recorded('debian-12-root'))?.clockMs).toBe(
      Math.floor(Number(/^clock\t(.*)$/m.exec(recorded('debian-12-root'))?.[1]) * 1000),
    )
  })

  it('says unknown of what a plain user cannot try', () => {
    const facts = parseFacts(recorded('debian-12-nobody'))
    expect(facts).toMatchObject({
      uid: 65534,
      tun: { available: 'no', reason: expect.stringContaining('Permission denied') },
      wireguard: { available: 'unknown' },
      nft: { concatMap: { available: 'unknown' } },
    })
  })

  it('refuses torn output, and what a login shell says instead', () => {
    expect(parseFacts('')).toBeUndefined()
    expect(parseFacts('This account is currently not available.\n')).toBeUndefined()
    expect(parseFacts(recorded('debian-12-root').replace(/end\tend\n?$/, ''))).toBeUndefined()
  })

  it('passes over a banner before the first line', () => {
    expect(parse('Welcome!', '', 'uid\t0').uid).toBe(0)
  })

  it('does not take a missing user id for root', () => {
    expect(parse().uid).toBe(-1)
    expect(parse('uid\t').uid).toBe(-1)
  })

  it.each([
    ['musl 1.2.4', { kind: 'musl', version: '1.2.4' }],
    ['glibc 2.28', { kind: 'glibc', version: '2.28' }],
    ['', { kind: 'unknown', version: '' }],
  ])('reads the C library %j', (text, libc) => {
    expect(parse(`libc\t${text}`).libc).toEqual(libc)
  })

  it('reads os-release with quotes and families', () => {
    const facts = parse(
      'os\tID="rocky"',
      'os\tID_LIKE="rhel centos fedora"',
      "os\tVERSION_ID='9.3'",
      'os\tPRETTY_NAME="A \\"B\\" C"',
    )
    expect(facts.os).toEqual({ id: 'rocky', like: ['rhel', 'centos', 'fedora'], version: '9.3', name: 'A "B" C' })
  })

  it.each([
    ['nft /sbin/nft nftables v0.9.3 (Topsy)', 'nft', '0.9.3'],
    ['ip /sbin/ip ip utility, iproute2-ss200127', 'ip', '200127'],
    ['openvpn /sbin/openvpn ', 'openvpn', ''],
    ['wireguard-go /usr/bin/wireguard-go wireguard-go v0.0.20220316', 'wireguard-go', '0.0.20220316'],
  ] as const)('reads the version in %j', (text, tool, version) => {
    expect(parse(`tool\t${text}`).tools[tool]?.version).toBe(version)
  })

  it.each([
    [
      '2: eth0.7@eth0    inet 192.0.2.1/24 brd 192.0.2.255 scope global eth0.7',
      { device: 'eth0.7', address: '192.0.2.1', prefix: 24, scope: 'global' },
    ],
    [
      '5: wg0    inet 10.0.0.1/32 scope global wg0',
      { device: 'wg0', address: '10.0.0.1', prefix: 32, scope: 'global' },
    ],
    [
      '5: ppp0    inet 10.0.0.1 peer 10.0.0.2/32 scope global ppp0',
      { device: 'ppp0', address: '10.0.0.1', prefix: 32, scope: 'global' },
    ],
    [
      '2: eth0    inet6 2001:db8::5/128 scope global dynamic noprefixroute ',
      { device: 'eth0', address: '2001:db8::5', prefix: 128, scope: 'global' },
    ],
  ])('reads the address in %j', (text, address) => {
    expect(parse(`addr\t${text}`).addresses).toEqual([address])
  })

  it('reads default routes without a gateway and with one of the other family', () => {
    const facts = parse('route4\tdefault dev ppp0 scope link', 'route4\tdefault via inet6 fe80::1 dev eth0')
    expect(facts.defaultRoutes).toEqual([
      { family: 4, device: 'ppp0', gateway: '' },
      { family: 4, device: 'eth0', gateway: 'fe80::1' },
    ])
  })

  it("reads busybox's clock, without nanoseconds", () => {
    expect(parse('clock\t1700000000.%N').clockMs).toBe(1_700_000_000_000)
    expect(parse('clock\t1700000000.123456789').clockMs).toBe(1_700_000_000_123)
  })

  it('names the agent that runs', () => {
    const running =
      '/usr/local/lib/fleetmove/runtime-00112233aabbccdd/node /usr/local/lib/fleetmove/agent-0123456789abcdef/agent.cjs serve '
    expect(
      parse('installed\tdirectory', 'installed\tsocket', 'installed\tledger', `running\t${running}`).installed,
    ).toEqual({
      directory: true,
      socket: true,
      ledger: true,
      runningAgent: '0123456789abcdef',
      runningRuntime: '00112233aabbccdd',
    })
    expect(parse('running\t/usr/bin/something else').installed.runningAgent).toBe('')
  })
})
