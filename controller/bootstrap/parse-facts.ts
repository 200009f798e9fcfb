import type {
  Availability,
  DefaultRoute,
  Feature,
  HostAddress,
  HostFacts,
  LinkFact,
  ToolName,
} from '../../proto/model/facts.js'
import { toolNames } from '../../proto/model/facts.js'
import { networkFacts } from './parse-network-facts.js'

/**
 * Reads what `factsScript` has printed. Pure; lines that it doesn't understand are passed over.
 *
 * @returns undefined where the output doesn't end as the script does: it is torn, or the login shell
 *   printed something else.
 */
export const parseFacts = (text: string): HostFacts | undefined => {
  const values = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const tab = line.indexOf('\t')
    if (tab === -1) continue
    const key = line.slice(0, tab)
    values.set(key, [...(values.get(key) ?? []), line.slice(tab + 1)])
  }
  if (!values.has('end')) return undefined
  const all = (key: string): string[] => values.get(key) ?? []
  const one = (key: string): string => all(key)[0] ?? ''
  const installed = all('installed')
  return {
    hostname: one('hostname'),
    system: one('system'),
    kernel: kernelOf(one('kernel')),
    arch: one('arch'),
    libc: libcOf(one('libc')),
    // Not the number of an empty string: 0 is root.
    uid: /^\d+$/.test(one('uid')) ? Number(one('uid')) : -1,
    os: osOf(all('os')),
    systemd: one('systemd') === 'yes',
    tools: toolsOf(all('tool')),
    tun: featureOf(one('tun')),
    wireguard: featureOf(one('link.wireguard')),
    vxlan: featureOf(one('link.vxlan')),
    nft: {
      inetNat: featureOf(one('nft.nat')),
      originalZone: featureOf(one('nft.zone')),
      fib: featureOf(one('nft.fib')),
      concatMap: featureOf(one('nft.map')),
    },
    queue: { nft: featureOf(one('nft.queue')), xtables: featureOf(one('xtables.queue')) },
    sysctls: Object.fromEntries(all('sysctl').flatMap(sysctlOf)),
    addresses: all('addr').flatMap(addressOf),
    defaultRoutes: [
      ...all('route4').flatMap((line) => routeOf(4, line)),
      ...all('route6').flatMap((line) => routeOf(6, line)),
    ],
    links: all('link').flatMap(linkOf),
    vrfs: all('vrf')
      .flatMap(linkOf)
      .map(({ name }) => name),
    disk: { usrLocalKib: freeOf(all('disk'), '/usr/local'), varLibKib: freeOf(all('disk'), '/var/lib') },
    bootId: one('bootid'),
    clockMs: clockOf(one('clock')),
    conntrack: conntrackOf(one('conntrack')),
    ...networkFacts(all),
    firewalls: { nft: all('firewall.nft'), iptables: savesOf(all('firewall.iptables')) },
    installed: {
      directory: installed.includes('directory'),
      socket: installed.includes('socket'),
      ledger: installed.includes('ledger'),
      runningAgent: /\/agent-([0-9a-f]{16})\/agent\.cjs serve\b/.exec(one('running'))?.[1] ?? '',
      runningRuntime: /\/runtime-([0-9a-f]{16})\/node /.exec(one('running'))?.[1] ?? '',
    },
  }
}

/** Each line behind the name of the command that printed it. */
const savesOf = (lines: string[]): HostFacts['firewalls']['iptables'] => {
  const texts = new Map<string, string>()
  for (const line of lines) {
    const [, command, rest] = /^(\S+) (.*)$/.exec(line) ?? []
    if (command !== undefined) texts.set(command, `${texts.get(command) ?? ''}${rest}\n`)
  }
  return [...texts].map(([command, text]) => ({ command, text }))
}

const kernelOf = (release: string): HostFacts['kernel'] => {
  const match = /^(\d+)\.(\d+)/.exec(release)
  return { release, major: Number(match?.[1] ?? 0), minor: Number(match?.[2] ?? 0) }
}

const libcOf = (text: string): HostFacts['libc'] => {
  const [name, version = ''] = text.split(' ')
  return { kind: name === 'glibc' || name === 'musl' ? name : 'unknown', version }
}

/** os-release(5): shell-like assignments, values perhaps in quotes. */
const osOf = (lines: string[]): HostFacts['os'] => {
  const value = (key: string): string => {
    const line = lines.find((candidate) => candidate.startsWith(`${key}=`))
    return (line?.slice(key.length + 1) ?? '').replace(/^(["'])(.*)\1$/, '$2').replace(/\\(.)/g, '$1')
  }
  return {
    id: value('ID'),
    like: value('ID_LIKE').split(' ').filter(Boolean),
    version: value('VERSION_ID'),
    name: value('PRETTY_NAME'),
  }
}

const toolsOf = (lines: string[]): HostFacts['tools'] => {
  const tools: HostFacts['tools'] = {}
  for (const line of lines) {
    const [name, path, ...words] = line.split(' ')
    if (path === undefined || !isTool(name)) continue
    // The first word with a dotted number or, for iproute2 of old, a date: `iproute2-ss200127`.
    tools[name] = { path, version: /\d+(\.\d+)+[\w.-]*|(?<=ss)\d{6}/.exec(words.join(' '))?.[0] ?? '' }
  }
  return tools
}

const isTool = (name: string | undefined): name is ToolName => toolNames.some((tool) => tool === name)

const featureOf = (text: string): Feature => {
  const [, word, reason = ''] = /^(yes|no)(?: (.*))?$/.exec(text) ?? []
  const available: Availability = word === 'yes' || word === 'no' ? word : 'unknown'
  return { available, reason: available === 'no' ? reason : '' }
}

/** `2: eth0    inet 192.0.2.1/24 brd … scope global eth0`; of point-to-point links: `inet A peer B/30`. */
const addressOf = (line: string): HostAddress[] => {
  const match = /^\d+: (\S+)\s+inet6? ([0-9a-f.:]+)(?:\/(\d+))?(?: peer [0-9a-f.:]+(?:\/(\d+))?)?.* scope (\S+)/.exec(
    line,
  )
  const [, device, address, prefix, peerPrefix, scope] = match ?? []
  if (device === undefined || address === undefined || scope === undefined) return []
  const whole = address.includes(':') ? 128 : 32
  return [{ device: bare(device), address, prefix: Number(prefix ?? peerPrefix ?? whole), scope }]
}

const routeOf = (family: 4 | 6, line: string): DefaultRoute[] => {
  const gateway = / via (?:inet6? )?(\S+)/.exec(line)?.[1] ?? ''
  const device = / dev (\S+)/.exec(line)?.[1]
  // `-o` puts the next hops of one multipath route on one line, behind backslashes: the first stands for all.
  return device === undefined ? [] : [{ family, device, gateway }]
}

/** `3: eth0@if2: <BROADCAST,…> mtu 1500 qdisc …`. */
const linkOf = (line: string): LinkFact[] => {
  const match = /^\d+: (\S+): .* mtu (\d+)/.exec(line)
  if (match?.[1] === undefined) return []
  return [{ name: bare(match[1]), mtu: Number(match[2]), master: / master (\S+)/.exec(line)?.[1] ?? '' }]
}

/** A device's name without the lower device that ip(8) shows behind `@`. */
const bare = (device: string): string => device.replace(/@.*$/, '')

/** `ipv4/conf/eth0/rp_filter:1`: a path below /proc/sys/net, so that a device's name may have dots. */
const sysctlOf = (line: string): [string, string][] => {
  const match = /^(ipv[46])\/conf\/([^/]+)\/([a-z_]+):(-?\d+)$/.exec(line)
  return match === null ? [] : [[`net.${match[1]}.conf.${match[2]}.${match[3]}`, match[4]!]]
}

const freeOf = (lines: string[], directory: string): number | undefined => {
  const free = lines.find((line) => line.startsWith(`${directory} `))?.slice(directory.length + 1)
  return free !== undefined && /^\d+$/.test(free) ? Number(free) : undefined
}

const clockOf = (text: string): number => {
  const match = /^(\d+)(?:\.(\d{3})\d*)?/.exec(text)
  return Number(match?.[1] ?? 0) * 1000 + Number(match?.[2] ?? 0)
}

const conntrackOf = (text: string): HostFacts['conntrack'] => {
  const match = /^(\d+) (\d+)$/.exec(text)
  return match === null ? undefined : { count: Number(match[1]), max: Number(match[2]) }
}
