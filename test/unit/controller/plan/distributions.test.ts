/**
 * Distributions that can't be booted everywhere, by what such a host answers: a recording of Debian 12 with the
 * os-release(5), kernel, C library and nft that each of them ships. Nothing here has run on them.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseFacts } from '../../../../controller/bootstrap/parse-facts.js'
import { preflight, usableDrivers } from '../../../../controller/plan/preflight.js'
import type { HostFacts } from '../../../../proto/model/facts.js'

const recorded = readFileSync(join(__dirname, '..', 'bootstrap', 'facts', 'debian-12-root.txt'), 'utf8')

interface Distribution {
  release: string[]
  kernel: string
  libc: string
  nft: string
  /** What installs nft, ip and WireGuard's tools there. */
  advice: Record<'nft' | 'ip' | 'wg', string>
}

const apt = {
  nft: 'apt-get install -y nftables',
  ip: 'apt-get install -y iproute2',
  wg: 'apt-get install -y wireguard-tools',
}
const dnf = { nft: 'dnf install -y nftables', ip: 'dnf install -y iproute', wg: 'dnf install -y wireguard-tools' }

const distributions: Record<string, Distribution> = {
  'Debian 12': {
    release: ['ID=debian', 'VERSION_ID="12"'],
    kernel: '6.1.0-31-amd64',
    libc: 'glibc 2.36',
    nft: '1.0.6',
    advice: apt,
  },
  'Debian 13': {
    release: ['ID=debian', 'VERSION_ID="13"'],
    kernel: '6.12.38+deb13-amd64',
    libc: 'glibc 2.41',
    nft: '1.1.3',
    advice: apt,
  },
  'Ubuntu 22.04': {
    release: ['ID=ubuntu', 'ID_LIKE=debian', 'VERSION_ID="22.04"'],
    kernel: '5.15.0-118-generic',
    libc: 'glibc 2.35',
    nft: '1.0.2',
    advice: apt,
  },
  'Ubuntu 24.04': {
    release: ['ID=ubuntu', 'ID_LIKE=debian', 'VERSION_ID="24.04"'],
    kernel: '6.8.0-41-generic',
    libc: 'glibc 2.39',
    nft: '1.0.9',
    advice: apt,
  },
  'Rocky Linux 9': {
    release: ['ID="rocky"', 'ID_LIKE="rhel centos fedora"', 'VERSION_ID="9.4"'],
    kernel: '5.14.0-427.13.1.el9_4.x86_64',
    libc: 'glibc 2.34',
    nft: '1.0.9',
    advice: dnf,
  },
  'RHEL 9': {
    release: ['ID="rhel"', 'ID_LIKE="fedora"', 'VERSION_ID="9.4"'],
    kernel: '5.14.0-427.13.1.el9_4.x86_64',
    libc: 'glibc 2.34',
    nft: '1.0.9',
    advice: dnf,
  },
}

/** Distribution kernels have WireGuard; wireguard-go is packaged by Debian and Ubuntu alone. */
function factsOf({ release, kernel, libc, nft }: Distribution): HostFacts {
  const text = recorded
    .replace(/^os\t.*\n/gm, '')
    .replace(/^kernel\t.*$/m, () => `kernel\t${kernel}\n${release.map((line) => `os\t${line}`).join('\n')}`)
    .replace(/^libc\t.*$/m, `libc\t${libc}`)
    .replace(/^(tool\tnft .*) v[\d.]+/m, `$1 v${nft}`)
    .replace(/^link\.wireguard\t.*$/m, 'link.wireguard\tyes')
    .replace(/^tool\twireguard-go .*\n/m, '')
  const facts = parseFacts(text)
  if (facts === undefined) throw new Error('the facts are torn')
  return facts
}

const without = (facts: HostFacts, ...tools: (keyof HostFacts['tools'])[]): HostFacts => ({
  ...facts,
  tools: Object.fromEntries(Object.entries(facts.tools).filter(([tool]) => !tools.some((gone) => gone === tool))),
})

it('says where RHEL and its like have OpenVPN, and doesn’t say so of others', () => {
  const hintOf = (name: string): string => {
    const facts = without(factsOf(distributions[name]!), 'openvpn')
    return preflight([{ host: 'new', facts }], [{ left: 'new', right: 'new', driver: 'openvpn' }])[0]?.hint ?? ''
  }
  expect(hintOf('Rocky Linux 9')).toBe('Run on the host: dnf install -y openvpn (it is in EPEL: epel-release)')
  expect(hintOf('Debian 13')).toBe('Run on the host: apt-get install -y openvpn')
})

describe.each(Object.entries(distributions))('facts of %s', (_name, distribution) => {
  const facts = factsOf(distribution)

  it('are no hindrance, and every tunnel can be made', () => {
    expect(preflight([{ host: 'new', facts }], [{ left: 'new', right: 'new', driver: 'auto' }])).toEqual([])
    expect(usableDrivers(facts)).toEqual(['wireguard-l2', 'wireguard', 'openvpn'])
  })

  it.each(['nft', 'ip'] as const)('name the package that brings %s', (tool) => {
    const [problem] = preflight([{ host: 'new', facts: without(facts, tool) }], [])
    expect(problem?.message).toContain(`${tool} is not installed`)
    expect(problem?.hint).toContain(distribution.advice[tool])
  })

  it('advise the tools of the kernel’s WireGuard where no tunnel is installed: OpenVPN is not in every distribution', () => {
    const bare = without(facts, 'wg', 'openvpn')
    const [problem] = preflight([{ host: 'new', facts: bare }], [{ left: 'new', right: 'new', driver: 'auto' }])
    expect(problem?.hint).toContain(distribution.advice.wg)
  })
})
