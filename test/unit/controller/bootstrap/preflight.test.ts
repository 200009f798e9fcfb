import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseFacts } from '../../../../controller/bootstrap/parse-facts.js'
import { preflight, usableDrivers } from '../../../../controller/plan/preflight.js'
import type { Feature, HostFacts } from '../../../../proto/model/facts.js'

const yes: Feature = { available: 'yes', reason: '' }
const no: Feature = { available: 'no', reason: 'Error: Unknown device type.' }
const facts = (change: Partial<HostFacts> = {}): HostFacts => {
  const recorded = parseFacts(readFileSync(join(__dirname, 'facts', 'debian-12-root.txt'), 'utf8'))
  if (recorded === undefined) throw new Error('the recording is torn')
  return { ...recorded, ...change }
}
const without = (...tools: (keyof HostFacts['tools'])[]): HostFacts['tools'] =>
  Object.fromEntries(Object.entries(facts().tools).filter(([name]) => !tools.some((tool) => tool === name)))
const one = (change: Partial<HostFacts>) => preflight([{ host: 'new', facts: facts(change) }], [])
const link = (
  left: Partial<HostFacts>,
  right: Partial<HostFacts>,
  driver: 'auto' | 'openvpn' | 'wireguard' | 'wireguard-l2' | 'direct' = 'auto',
) =>
  preflight(
    [
      { host: 'old', facts: facts(left) },
      { host: 'new', facts: facts(right) },
    ],
    [{ left: 'old', right: 'new', driver }],
  )
const rocky = { id: 'rocky', like: ['rhel', 'centos', 'fedora'], version: '9.3', name: 'Rocky Linux 9.3' }

describe('preflight', () => {
  it('has nothing against a good host', () => {
    expect(link({}, {})).toEqual([])
  })

  it.each<[string, Partial<HostFacts>, RegExp, RegExp]>([
    ['no root', { uid: 1000 }, /user id 1000, not as root/, /become: sudo/],
    ['no Linux', { system: 'FreeBSD' }, /runs FreeBSD/, /Linux/],
    [
      'an old kernel',
      { kernel: { release: '4.18.0-553.el8', major: 4, minor: 18 } },
      /4\.18\.0-553\.el8 is older than 5\.10: nf_tables/,
      /newer kernel/,
    ],
    ['a foreign machine', { arch: 'riscv64' }, /riscv64/, /kinds/],
    ['musl', { libc: { kind: 'musl', version: '1.2' } }, /musl/, /glibc/],
    ['an old glibc', { libc: { kind: 'glibc', version: '2.17' } }, /2\.17 is older than 2\.28/, /Upgrade/],
    ['no nft', { tools: without('nft') }, /^nft is not installed/, /apt-get install -y nftables/],
    ['no nft on a Red Hat', { tools: without('nft'), os: rocky }, /^nft/, /dnf install -y nftables/],
    ['no ip on a Red Hat', { tools: without('ip'), os: rocky }, /^ip /, /dnf install -y iproute$/],
    [
      'no nft on what nobody knows',
      { tools: without('nft'), os: { id: 'x', like: [], version: '', name: '' } },
      /^nft/,
      /^Install the package nftables\.$/,
    ],
    [
      'nf_tables without zones',
      { nft: { ...facts().nft, originalZone: { available: 'no', reason: 'not supported' } } },
      /zones by direction: not supported/,
      /full kernel/,
    ],
    [
      'a full disk',
      { disk: { usrLocalKib: 20 * 1024, varLibKib: 100_000 } },
      /\/usr\/local has 20 MiB free, 250 MiB/,
      /Make room/,
    ],
  ])('names %s', (_, change, message, hint) => {
    const problems = one(change)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatchObject({
      host: 'new',
      message: expect.stringMatching(message),
      hint: expect.stringMatching(hint),
    })
  })

  it('takes kernels from 5.10', () => {
    expect(one({ kernel: { release: '5.10.0', major: 5, minor: 10 } })).toEqual([])
    expect(one({ kernel: { release: '5.9.0', major: 5, minor: 9 } })).toHaveLength(1)
    expect(one({ kernel: { release: '10.0', major: 10, minor: 0 } })).toEqual([])
  })

  it('asks for no room where fleetmove is there already, and judges no unknown', () => {
    expect(
      one({
        disk: { usrLocalKib: 1024, varLibKib: 100_000 },
        installed: { directory: true, socket: true, ledger: true, runningAgent: '', runningRuntime: '' },
      }),
    ).toEqual([])
    expect(one({ disk: { usrLocalKib: undefined, varLibKib: undefined } })).toEqual([])
  })

  it('asks for rsync only where data is copied, and not for an old one', () => {
    const rsync = (version?: string) => ({
      ...without('rsync'),
      ...(version === undefined ? {} : { rsync: { path: '/usr/bin/rsync', version } }),
    })
    const copying = (version?: string) =>
      preflight([{ host: 'new', facts: facts({ tools: rsync(version) }), copiesData: true }], [])
    expect(one({ tools: rsync() })).toEqual([])
    expect(copying()).toEqual([
      {
        ...{ host: 'new', message: 'rsync is not installed; data: of a service needs it' },
        ...{ hint: 'Run on the host: apt-get install -y rsync' },
      },
    ])
    expect(copying('3.1.2')).toMatchObject([{ message: expect.stringContaining('rsync 3.1.2 is older than 3.1.3') }])
    for (const version of ['3.1.3', '3.2.7', '3.5.0', '4.0.0pre1']) expect(copying(version)).toEqual([])
  })

  it('lists all problems of all hosts', () => {
    const problems = link(
      { uid: 1, tools: without('nft', 'tar') },
      { libc: { kind: 'musl', version: '' }, tools: without('openvpn', 'wg') },
    )
    expect(problems.map(({ host, message }) => `${host}: ${message.slice(0, 30)}`)).toEqual([
      'old: commands run with user id 1, n',
      'old: nft is not installed',
      'old: tar is not installed',
      "new: the host's C library is musl, ",
      'new: no tunnel can be made: neither',
    ])
  })
})

describe('tunnels', () => {
  it('finds what a host can use, WireGuard before OpenVPN', () => {
    expect(usableDrivers(facts())).toEqual(['wireguard-l2', 'wireguard', 'openvpn'])
    expect(usableDrivers(facts({ tools: without('wg') }))).toEqual(['openvpn'])
    expect(usableDrivers(facts({ wireguard: yes, tun: no, tools: without('wireguard-go') }))).toEqual([
      'wireguard-l2',
      'wireguard',
    ])
    expect(usableDrivers(facts({ vxlan: no, tools: without('openvpn') }))).toEqual(['wireguard'])
    expect(usableDrivers(facts({ tun: no }))).toEqual([])
  })

  it('names a host with neither tun nor WireGuard', () => {
    const problems = link({}, { tun: { available: 'no', reason: '/dev/net/tun is not there' } })
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatchObject({ host: 'new', message: expect.stringContaining('/dev/net/tun is not there') })
    expect(link({}, { tun: no }, 'direct')).toEqual([])
  })

  it("asks for WireGuard's tools where the kernel has it, else for OpenVPN", () => {
    const tools = without('openvpn', 'wg', 'wireguard-go')
    expect(link({}, { tools })[0]?.hint).toBe('Run on the host: apt-get install -y openvpn')
    expect(link({}, { tools, wireguard: yes })[0]?.hint).toBe('Run on the host: apt-get install -y wireguard-tools')
  })

  it('judges the driver that fleet.yaml names', () => {
    expect(link({}, { tools: without('openvpn') }, 'openvpn')).toMatchObject([
      { host: 'new', message: 'openvpn is not installed; the openvpn tunnel needs it' },
    ])
    expect(link({}, { vxlan: no }, 'wireguard-l2')).toMatchObject([{ message: expect.stringContaining('VXLAN') }])
    expect(link({}, { vxlan: no }, 'wireguard')).toEqual([])
  })

  it('says where two hosts have no driver in common', () => {
    const problems = link({ tools: without('wg') }, { tools: without('openvpn') })
    expect(problems.map(({ host, message }) => [host, message])).toEqual([
      ['old', 'old and new share no tunnel driver: this host could use openvpn'],
      ['new', 'old and new share no tunnel driver: this host could use wireguard-l2, wireguard'],
    ])
  })
})
