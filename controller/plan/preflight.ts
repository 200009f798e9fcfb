/**
 * What is wrong with the hosts, judged by their facts before anything is changed. Everything of all
 * hosts is found at once: nobody wants to install one package, run again, and read of the next.
 */
import type { Feature, HostFacts, ToolName } from '../../proto/model/facts.js'
import type { TunnelDriver } from '../../proto/model/host-spec.js'

export interface Problem {
  host: string
  /** What is missing or wrong, with the values that matter. */
  message: string
  /** What to do: a command or a change. */
  hint: string
}

export interface PreflightHost {
  host: string
  facts: HostFacts
  /** Directories are copied from or to it. */
  copiesData?: boolean
}

/** Two hosts that need a tunnel, and the driver that fleet.yaml asks for. */
export interface PreflightLink {
  left: string
  right: string
  driver: TunnelDriver | 'auto'
}

/** 5.6 brought port ranges in concatenated maps, which dispatch is made of; 5.10 is the oldest series still kept that has them. */
const oldestKernel = { major: 5, minor: 10 }
/** Node 20's own binaries are built against it. */
const oldestGlibc = { major: 2, minor: 28 }
/** With older ones a file that is written twice within a second may count as unchanged. */
const oldestRsync = { major: 3, minor: 1, patch: 3 }
/** The runtime packed and unpacked, the agent, and one older version of each, in KiB. */
const libraryKib = 250 * 1024
/** Ledger, keys and log. */
const stateKib = 16 * 1024

const knownArchitectures = ['x86_64', 'aarch64', 'arm64']

/** Problems of all hosts and of their links, in the order of `hosts`; empty when all can go on. */
export const preflight = (hosts: readonly PreflightHost[], links: readonly PreflightLink[]): Problem[] => {
  const problems = hosts.flatMap(hostProblems)
  const factsOf = (name: string): HostFacts | undefined => hosts.find(({ host }) => host === name)?.facts
  for (const { left, right, driver } of links) {
    const ends = [left, right].flatMap((host) => {
      const facts = factsOf(host)
      // The tunnel of a host that is no Linux, or where we aren't root, is not the point.
      return facts === undefined || facts.system !== 'Linux' || facts.uid !== 0 ? [] : [{ host, facts }]
    })
    problems.push(...linkProblems(ends, driver, `${left} and ${right}`))
  }
  return problems.filter(
    (problem, index) =>
      problems.findIndex(({ host, message }) => host === problem.host && message === problem.message) === index,
  )
}

const hostProblems = ({ host, facts, copiesData = false }: PreflightHost): Problem[] => {
  const problems: Problem[] = []
  const add = (message: string, hint: string): void => {
    problems.push({ host, message, hint })
  }
  // Nothing else that such a host says means anything.
  if (facts.system !== 'Linux') {
    add(`the host runs ${facts.system || 'an unknown system'}, not Linux`, 'Only Linux hosts can be moved from or to.')
    return problems
  }
  if (facts.uid !== 0)
    add(
      `commands run with user id ${facts.uid}, not as root`,
      'Log in as root in `ssh:`, or set `become: sudo` for this host.',
    )
  const { release, major, minor } = facts.kernel
  if (major < oldestKernel.major || (major === oldestKernel.major && minor < oldestKernel.minor))
    add(
      `kernel ${release} is older than ${oldestKernel.major}.${oldestKernel.minor}: nf_tables can't look up address, protocol and port range in one map`,
      'Install a newer kernel of the distribution and reboot.',
    )
  if (!knownArchitectures.includes(facts.arch))
    add(`the host is a ${facts.arch}; the agent runs on x86_64 and aarch64`, 'Use a host of one of these kinds.')
  if (facts.libc.kind === 'musl')
    add(
      "the host's C library is musl, which the agent's runtime does not run on",
      'Use a host with glibc (Debian, Ubuntu, Fedora, …).',
    )
  if (facts.libc.kind === 'glibc' && isOlder(facts.libc.version, oldestGlibc))
    add(
      `glibc ${facts.libc.version} is older than ${oldestGlibc.major}.${oldestGlibc.minor}, which the agent's runtime needs`,
      'Upgrade the distribution.',
    )
  for (const tool of ['nft', 'ip', 'gzip', 'tar', 'sha256sum'] as const)
    if (facts.tools[tool] === undefined) add(`${tool} is not installed`, installHint(facts, [tool]))
  if (copiesData) {
    const { rsync } = facts.tools
    if (rsync === undefined) add('rsync is not installed; data: of a service needs it', installHint(facts, ['rsync']))
    else if (isOlder(rsync.version, oldestRsync))
      add(
        `rsync ${rsync.version} is older than 3.1.3, which compares times by nanoseconds`,
        'Install a newer rsync, or copy the data by other means and leave data: away.',
      )
  }
  if (!facts.systemd && facts.tools.setsid === undefined)
    add('neither systemd runs nor is setsid installed', installHint(facts, ['setsid']))
  for (const [feature, words] of [
    [facts.nft.inetNat, 'address translation in inet tables'],
    [facts.nft.originalZone, 'connection tracking zones by direction'],
    [facts.nft.fib, 'fib expressions'],
    [facts.nft.concatMap, 'maps of address, protocol and port range'],
  ] satisfies [Feature, string][])
    if (feature.available === 'no')
      add(
        `nf_tables on this host has no ${words}: ${feature.reason}`,
        "Use the distribution's full kernel (not a minimal or container one), and nft 0.9.4 or later.",
      )
  for (const [free, need, directory] of [
    [facts.disk.usrLocalKib, facts.installed.directory ? 0 : libraryKib, '/usr/local'],
    [facts.disk.varLibKib, stateKib, '/var/lib'],
  ] satisfies [number | undefined, number, string][])
    if (free !== undefined && free < need)
      add(
        `${directory} has ${Math.floor(free / 1024)} MiB free, ${need / 1024} MiB are needed`,
        `Make room on the file system of ${directory}.`,
      )
  return problems
}

/** The drivers that a host could be an end of, best first: kernel before user space, layer 2 before 3. */
export const usableDrivers = (facts: HostFacts): Exclude<TunnelDriver, 'direct'>[] =>
  (['wireguard-l2', 'wireguard', 'openvpn'] as const).filter((driver) => driverLacks(facts, driver).length === 0)

interface Lack {
  message: string
  tools: ToolName[]
}

const driverLacks = (facts: HostFacts, driver: Exclude<TunnelDriver, 'direct'>): Lack[] => {
  const lacks: Lack[] = []
  const tool = (name: ToolName): void => {
    if (facts.tools[name] === undefined) lacks.push({ message: `${name} is not installed`, tools: [name] })
  }
  const tun = (): void => {
    if (facts.tun.available !== 'yes')
      lacks.push({ message: `/dev/net/tun can't be used${because(facts.tun)}`, tools: [] })
  }
  if (driver === 'openvpn') {
    tool('openvpn')
    tun()
    return lacks
  }
  tool('wg')
  if (facts.wireguard.available !== 'yes') {
    // wireguard-go stands in for the kernel's WireGuard; it needs a tun device.
    tool('wireguard-go')
    tun()
  }
  if (driver === 'wireguard-l2' && facts.vxlan.available !== 'yes')
    lacks.push({ message: `the kernel has no VXLAN${because(facts.vxlan)}`, tools: [] })
  return lacks
}

const because = ({ available, reason }: Feature): string =>
  available === 'unknown' ? ' (could not be tried)' : reason === '' ? '' : `: ${reason}`

const linkProblems = (ends: readonly PreflightHost[], driver: PreflightLink['driver'], between: string): Problem[] => {
  if (driver === 'direct') return []
  if (driver !== 'auto')
    return ends.flatMap(({ host, facts }) =>
      driverLacks(facts, driver).map(({ message, tools }) => ({
        host,
        message: `${message}; the ${driver} tunnel needs it`,
        hint: tools.length === 0 ? tunHint : installHint(facts, tools),
      })),
    )
  const problems: Problem[] = []
  for (const { host, facts } of ends) {
    if (facts.tun.available !== 'yes' && facts.wireguard.available !== 'yes')
      problems.push({
        host,
        message: `no tunnel can be made: /dev/net/tun can't be used${because(facts.tun)}, and the kernel has no WireGuard${because(facts.wireguard)}`,
        hint: tunHint,
      })
    else if (usableDrivers(facts).length === 0)
      problems.push({
        host,
        message: 'no tunnel can be made: neither OpenVPN nor WireGuard is installed whole',
        // With the kernel's WireGuard its tools are all; else OpenVPN is one package everywhere.
        hint: installHint(facts, facts.wireguard.available === 'yes' ? ['wg'] : ['openvpn']),
      })
  }
  const [one, other] = ends.map(({ facts }) => usableDrivers(facts))
  if (problems.length === 0 && one !== undefined && other !== undefined && !one.some((name) => other.includes(name)))
    for (const { host, facts } of ends)
      problems.push({
        host,
        message: `${between} share no tunnel driver: this host could use ${usableDrivers(facts).join(', ')}`,
        hint: installHint(facts, ['openvpn']),
      })
  return problems
}

const tunHint =
  'Use a kernel with WireGuard or tun: modprobe tun, or let the container or VM have /dev/net/tun; else set `driver: direct` over a link of your own.'

type PackageFamily = 'apt' | 'dnf' | 'zypper' | 'pacman' | 'apk'

const families: readonly [PackageFamily, readonly string[]][] = [
  ['apt', ['debian', 'ubuntu']],
  ['dnf', ['fedora', 'rhel', 'centos']],
  ['zypper', ['suse', 'opensuse']],
  ['pacman', ['arch']],
  ['apk', ['alpine']],
]

const installers: Record<PackageFamily, string> = {
  apt: 'apt-get install -y',
  dnf: 'dnf install -y',
  zypper: 'zypper install -y',
  pacman: 'pacman -S',
  apk: 'apk add',
}

/** Where a package isn't called as its tool. */
const packages: Partial<Record<ToolName, Partial<Record<PackageFamily, string>> & { default: string }>> = {
  nft: { default: 'nftables' },
  ip: { default: 'iproute2', dnf: 'iproute' },
  wg: { default: 'wireguard-tools' },
  conntrack: { default: 'conntrack-tools', apt: 'conntrack' },
  sha256sum: { default: 'coreutils' },
  setsid: { default: 'util-linux' },
  unshare: { default: 'util-linux' },
}

const installHint = (facts: HostFacts, tools: readonly ToolName[]): string => {
  const words = [facts.os.id, ...facts.os.like]
  const family = families.find(([, names]) => names.some((name) => words.some((word) => word.startsWith(name))))?.[0]
  const names = tools.map((tool) => {
    const entry = packages[tool]
    return entry === undefined ? tool : ((family === undefined ? undefined : entry[family]) ?? entry.default)
  })
  // Fedora has it itself.
  const inEpel = family === 'dnf' && facts.os.id !== 'fedora' && tools.includes('openvpn')
  return family === undefined
    ? `Install the package ${names.join(' ')}.`
    : `Run on the host: ${installers[family]} ${names.join(' ')}${inEpel ? ' (it is in EPEL: epel-release)' : ''}`
}

const isOlder = (version: string, than: { major: number; minor: number; patch?: number }): boolean => {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map((part) => Number.parseInt(part, 10))
  if (major !== than.major) return major < than.major
  return minor < than.minor || (minor === than.minor && patch < (than.patch ?? 0))
}
