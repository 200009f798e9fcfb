/**
 * The table `inet fleetmove`, whole, as one transaction for `nft -f`: the same shape on both hosts.
 *
 * What an opening packet meets: one look-up in a verdict map (`open4`, `open6`), however many
 * listeners there are, then the chain of its service. What every later packet meets: one test of the
 * connection's mark. nft(8), "VERDICT MAP STATEMENT", "CONNTRACK EXPRESSIONS".
 *
 * The text adds what is missing, empties every chain and map of ours and fills them anew, all or
 * nothing: connections, counters and the record of arrivals live on. While only services change, the
 * chains that hang in netfilter's hooks are left alone: flushing the one with the zones makes the kernel
 * (6.18) drop every packet that waits in a queue, and a switch happens while clients wait in one.
 */
import { type Family, familyOf, hostPort, type Ip } from '../../proto/model/address.js'
import {
  type ForwardAction,
  forwardOf,
  type HostSpec,
  type Protocol,
  type ServeAction,
  type ServiceRoute,
  type ServiceSpec,
  serveOf,
  type TunnelSpec,
} from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'
import { arrivalSet, recordArrival } from './arrival-sets.js'
import { refuseChecks } from './dark.js'
import type { Ruleset } from './desired.js'
import { guardLeaving, leaveElsewhere, leaveHere } from './egress.js'
import { fingerprint } from './fingerprint.js'
import { assignHelpers, helperObjects, leaveUnzoned } from './ftp.js'
import { isLate, lateAnswerSets, readdressLate, untrackLate } from './late-answers.js'
import { localClients, localhost } from './local-clients.js'
import { fromTunnel, intoTunnel, lateCounter, markMask, routeMark, table, zone } from './own.js'
import { splitRules } from './split-rules.js'

export interface RulesetInput {
  spec: HostSpec
  /** Tunnel index → the device that carries clients' packets. */
  devices: ReadonlyMap<number, string>
  /** Devices by which clients' packets come in. */
  uplinks: readonly string[]
  /** Devices on which we opened IPv4 forwarding: what isn't ours is dropped there. */
  opened4: readonly string[]
  /** We opened IPv6 forwarding, which has one switch for the whole host. */
  opened6: boolean
}

const hex = (value: number): string => `0x${(value >>> 0).toString(16).padStart(8, '0')}`
const others = hex(~markMask)
const setConnectionMark = (mark: number): string => `ct mark set ct mark & ${others} | ${hex(mark)}`
const setRoutingMark = (mark: number): string => `meta mark set meta mark & ${others} | ${hex(mark)}`
const quoted = (names: readonly string[]): string => names.map((name) => `"${name}"`).join(', ')

/** Of all services together. */
const [egressChain, carryChain, strangersChain] = ['egress', 'carry', 'strangers']
const [helpersChain, unzonedChain, darkChain] = ['helpers', 'unzoned', 'dark']

interface Target {
  chain: string
  rules: string[]
}
interface Targets {
  byRules: Map<string, Target>
  names: Set<string>
}
/** Where opening packets are dispatched: the only maps whose elements are known beforehand. */
export const dispatchMaps = ['open4', 'open6', 'localhost'] as const
interface Opening {
  map: (typeof dispatchMaps)[number]
  key: string
  chain: string
}

/** The text for this host, with the names it declares. Same input, same text. */
export function ruleset(input: RulesetInput): Ruleset {
  const tunnels = [...input.spec.tunnels].sort((a, b) => a.index - b.index)
  const services = [...input.spec.services].sort((a, b) => (a.name < b.name ? -1 : 1))
  const targets: Targets = { byRules: new Map(), names: new Set() }
  const openings: Opening[] = []
  for (const service of services) openService(input.spec.host, service, targets, openings)
  for (const tunnel of tunnels) openProbes(tunnel, targets, openings)

  const counters = [
    lateCounter,
    ...services.flatMap((service) => [forwardedCounter(service.name), servedCounter(service.name)]),
  ]
  const frame = chains(input, tunnels)
  const mark = (index: number): string => setConnectionMark(intoTunnel(index))
  const ofServices = [
    { chain: egressChain, rules: leaveElsewhere(services, tunnels, mark) },
    { chain: carryChain, rules: leaveHere(services, input.devices) },
    { chain: strangersChain, rules: guardLeaving(services, input.devices) },
    { chain: helpersChain, rules: assignHelpers(services) },
    { chain: darkChain, rules: refuseChecks(input.spec.host, services) },
    { chain: unzonedChain, rules: leaveUnzoned(services) },
    ...targets.byRules.values(),
  ].map(chainOf)
  const opened = elements(openings)
  const stampText = `${fingerprint(partsText(frame))}${fingerprint([...counters, partsText(ofServices), ...opened].join('\n'))}`
  const rulesOf = (part: Part): string[] => part.rules.map((rule) => `add rule inet ${table} ${part.chain} ${rule}`)
  const begin = [
    `add table inet ${table}`,
    ...helperObjects(services),
    ...counters.map((name) => `add counter inet ${table} ${name}`),
  ]
  const maps = [
    `add map inet ${table} open4 { type ipv4_addr . inet_proto . inet_service : verdict; }`,
    `add map inet ${table} open6 { type ipv6_addr . inet_proto . inet_service : verdict; }`,
    `add map inet ${table} localhost { type inet_proto . inet_service : verdict; }`,
    arrivalSet(4),
    arrivalSet(6),
    ...lateAnswerSets(4),
    ...lateAnswerSets(6),
  ]
  // nft rewrites what it lists, so drift is found by this comment and not by comparing text.
  const stamp: Part = {
    chain: 'fingerprint',
    declaration: `add chain inet ${table} fingerprint`,
    rules: [`accept comment "fleetmove:${stampText}"`],
  }
  const load = (parts: Part[], before: string[]): string =>
    [
      ...begin,
      ...before,
      ...parts.map((part) => part.declaration),
      ...parts.map((part) => `flush chain inet ${table} ${part.chain}`),
      ...dispatchMaps.map((map) => `flush map inet ${table} ${map}`),
      ...parts.flatMap(rulesOf),
      ...opened,
      '',
    ].join('\n')
  return {
    fingerprint: stampText,
    chains: [stamp, ...frame, ...ofServices].map((part) => part.chain),
    frame: frame.map((part) => part.chain),
    counters,
    rules: Object.fromEntries([stamp, ...frame, ...ofServices].map(({ chain, rules }) => [chain, rules.length])),
    elements: Object.fromEntries(
      dispatchMaps.map((map) => [map, openings.filter((opening) => opening.map === map).length]),
    ),
    text: load([stamp, ...frame, ...ofServices], maps),
    servicesText: load([stamp, ...ofServices], []),
  }
}

/** The first half of a fingerprint is of what the tunnels need, the second of the services. */
export const sameFrame = (a: string, b: string): boolean => a.slice(0, 16) === b.slice(0, 16)

const partsText = (parts: readonly Part[]): string =>
  parts.flatMap((part) => [part.declaration, ...part.rules]).join('\n')

export const forwardedCounter = (service: string): string => counterName(service, 'forwarded')
export const servedCounter = (service: string): string => counterName(service, 'served')
/** Names of services may begin with a digit, identifiers of nft may not. */
const counterName = (service: string, kind: string): string => `${/^\d/.test(service) ? '_' : ''}${service}-${kind}`

interface Part {
  chain: string
  declaration: string
  rules: string[]
}

const chainOf = (target: Target): Part => ({
  chain: target.chain,
  declaration: `add chain inet ${table} ${target.chain}`,
  rules: target.rules,
})

function base(chain: string, hook: string, rules: string[]): Part {
  return { chain, declaration: `add chain inet ${table} ${chain} { ${hook}; policy accept; }`, rules }
}

function chains(input: RulesetInput, tunnels: TunnelSpec[]): Part[] {
  const device = (tunnel: TunnelSpec): string => {
    const name = input.devices.get(tunnel.index)
    if (name === undefined) throw new Error(`tunnel ${tunnel.index} has no device`)
    return name
  }
  const all = tunnels.map(device)
  const perDevice = (prefix: string): string =>
    all.length === 0 ? '' : `{ ${tunnels.map((t) => `"${device(t)}" : goto ${prefix}-${t.index}`).join(', ')} }`
  const byMark = (mark: (index: number) => number): string =>
    `{ ${tunnels.map((t) => `${hex(mark(t.index))} : goto route-${t.index}`).join(', ')} }`
  // Not the interface but the direction tells what to steer: ICMP errors and the children of FTP
  // come in by other interfaces than the connection's own packets.
  const steer =
    all.length === 0
      ? []
      : [
          `ct mark & ${hex(markMask)} == 0 accept`,
          // Data connections of FTP are opened by either side: what doesn't come out of the tunnel goes into it.
          `ct status & expected != 0 ct mark & ${hex(markMask)} vmap ${byMark(fromTunnel)}`,
          `ct status & expected != 0 ct mark & ${hex(markMask)} vmap ${byMark(intoTunnel)}`,
          `ct direction reply ct mark & ${hex(markMask)} vmap ${byMark(fromTunnel)}`,
          `ct direction original ct mark & ${hex(markMask)} vmap ${byMark(intoTunnel)}`,
        ]
  const leaving = [`ct state new ct mark & ${hex(markMask)} == 0 jump ${egressChain}`]
  const toUplink = (from: string): string => `${from} oifname { ${quoted(input.uplinks)} }`
  const open = [
    // A connection that was there before this table is picked up in its middle, and must not be
    // translated: only a pure opening SYN is.
    'tcp flags & (fin | syn | rst | ack) != syn accept',
    'meta l4proto { tcp, udp } ip daddr . meta l4proto . th dport vmap @open4',
    'meta l4proto { tcp, udp } ip6 daddr . meta l4proto . th dport vmap @open6',
  ]
  const guard = [
    ...(input.opened4.length > 0 || input.opened6 ? isLate.map((match) => `ct state untracked ${match} accept`) : []),
    ...(input.opened4.length > 0 ? [`meta nfproto ipv4 iifname { ${quoted(input.opened4)} } drop`] : []),
    ...(input.opened6 ? ['meta nfproto ipv6 drop'] : []),
  ]
  return [
    base('late-output', 'type filter hook output priority raw', untrackLate),
    // In postrouting: with an address of this host as their source they would not be let in.
    base('late-postrouting', 'type filter hook postrouting priority mangle', readdressLate),
    base('zone-prerouting', 'type filter hook prerouting priority raw', [
      // Out of a tunnel, or from a container.
      ...untrackLate,
      // Nothing but answers may come to 127.0.0.1 by a tunnel, and those bear another address here.
      ...(all.length > 0 ? [`iifname { ${quoted(all)} } ip daddr 127.0.0.0/8 drop`] : []),
      ...(all.length > 0 ? [`iifname { ${quoted(all)} } jump ${unzonedChain}`] : []),
      // One client address and port may use both public addresses: in a zone of their own the two
      // connections don't meet. Only the original direction, so that replies are found without it.
      ...tunnels.map((t) => `iifname "${device(t)}" fib daddr type local ct original zone set ${zone(t.index)}`),
    ]),
    base('helper-prerouting', 'type filter hook prerouting priority -175', [`ct state new jump ${helpersChain}`]),
    base('helper-output', 'type filter hook output priority -175', [`ct state new jump ${helpersChain}`]),
    base('dark-prerouting', 'type filter hook prerouting priority -160', [
      `iifname { ${quoted(['lo', ...all])} } accept`,
      `tcp flags & (fin | syn | rst | ack) == syn jump ${darkChain}`,
    ]),
    base('mark-prerouting', 'type filter hook prerouting priority mangle', [
      ...(all.length > 0 ? [`iifname vmap ${perDevice('from')}`] : []),
      ...leaving,
      ...steer,
    ]),
    // As `type filter` the mark would come too late: the socket has routed already.
    base('mark-output', 'type route hook output priority mangle', [...leaving, ...steer]),
    base('open-prerouting', 'type nat hook prerouting priority -110', [
      // What comes out of a tunnel is answered here, or two hosts would play ball with it.
      ...(all.length > 0 ? [`iifname { ${quoted(all)} } accept`] : []),
      ...open,
    ]),
    base('open-output', 'type nat hook output priority -110', [
      // The agent asks after the health of the service that stands here, and not of the peer's.
      ...(['local4', 'local6'] as const).flatMap((end) =>
        all.length === 0
          ? []
          : [`${end === 'local4' ? 'ip' : 'ip6'} saddr { ${tunnels.map((t) => t[end]).join(', ')} } accept`],
      ),
      ...open,
      // Health checks come from another address of the loopback's.
      `ip saddr ${localhost} ip daddr ${localhost} meta l4proto { tcp, udp } meta l4proto . th dport vmap @localhost`,
    ]),
    // Empty: their presence makes conntrack choose another source port where two connections' replies
    // would be the same (see zone-prerouting).
    base('unique-input', 'type nat hook input priority 100', []),
    base('hairpin-postrouting', 'type nat hook postrouting priority 90', [
      ...tunnels.flatMap((t) => localClients(t, device(t), input.uplinks)),
      ...(input.uplinks.length > 0 ? [`${toUplink('ct direction original')} jump ${carryChain}`] : []),
    ]),
    base(
      'leave-postrouting',
      'type filter hook postrouting priority mangle',
      all.length > 0 ? [`oifname vmap ${perDevice('leave')}`] : [],
    ),
    base(
      'guard-forward',
      'type filter hook forward priority filter',
      guard.length > 0
        ? [
            ...(all.length > 0 && input.uplinks.length > 0
              ? [`${toUplink(`iifname { ${quoted(all)} } ct direction original`)} jump ${strangersChain}`]
              : []),
            `ct mark & ${hex(markMask)} != 0 accept`,
            ...guard,
          ]
        : [],
    ),
    ...tunnels.flatMap((t): Part[] => [
      chainOf({
        chain: `from-${t.index}`,
        rules: [
          // Between the tunnel's own ends nothing is steered: health probes, data copies.
          `ip saddr ${t.peer4} accept`,
          `ip6 saddr ${t.peer6} accept`,
          ...clamp(t.mtu),
          `ct state new ${setConnectionMark(fromTunnel(t.index))}`,
        ],
      }),
      chainOf({ chain: `route-${t.index}`, rules: [setRoutingMark(routeMark(t.index))] }),
      chainOf({
        chain: `leave-${t.index}`,
        // The kernel's VXLAN routes its outer packet by the inner one's mark, and would loop.
        rules: [...clamp(t.mtu), `meta mark set meta mark & ${others}`],
      }),
    ]),
  ]
}

/** MSS = MTU less IP and TCP headers (RFC 879): 40 bytes for IPv4, 60 for IPv6. The kernel never raises it. */
const clamp = (mtu: number): string[] => [
  `meta nfproto ipv4 tcp flags & (syn | rst) == syn tcp option maxseg size set ${mtu - 40}`,
  `meta nfproto ipv6 tcp flags & (syn | rst) == syn tcp option maxseg size set ${mtu - 60}`,
]

function openService(host: Name, service: ServiceSpec, targets: Targets, openings: Opening[]): void {
  for (const route of service.routes) {
    const chain = routeChain(host, service, route, targets)
    if (service.localhost && familyOf(route.address) === 4 && route.action.kind === 'forward') {
      for (let port = route.ports.from; port <= route.ports.to; port++) {
        const key = `${route.protocol} . ${port}`
        // Of several addresses the first will do.
        if (!openings.some((known) => known.map === 'localhost' && known.key === key))
          openings.push({ map: 'localhost', key, chain })
      }
    }
    for (let port = route.ports.from; port <= route.ports.to; port++) {
      openings.push({ map: `open${familyOf(route.address)}`, key: openKey(route.address, route.protocol, port), chain })
    }
  }
}

function routeChain(host: Name, service: ServiceSpec, { address, action }: ServiceRoute, targets: Targets): string {
  if (action.kind === 'pause') return target(targets, `pause-${service.name}`, ['drop'])
  const [forward, serve] = [forwardOf(action), serveOf(action)]
  const there = forward && target(targets, `fwd-${service.name}`, forwardRules(service, familyOf(address), forward))
  const here = serve && target(targets, `here-${service.name}`, serveRules(service, address, serve))
  if (!there || !here) return (there ?? here)!
  const [onNew, onOld] = host === service.to ? [here, there] : [there, here]
  return target(targets, `split-${service.name}`, splitRules(familyOf(address), service.canary!, onNew, onOld))
}

const forwardRules = (
  service: ServiceSpec,
  family: Family,
  { tunnel, to, port }: Omit<ForwardAction, 'kind'>,
): string[] => [`counter name "${forwardedCounter(service.name)}"`, recordArrival(family), ...into(tunnel, to, port)]

const serveRules = (service: ServiceSpec, address: Ip, { port }: Omit<ServeAction, 'kind'>): string[] => [
  `counter name "${servedCounter(service.name)}"`,
  ...(port === 0 ? [] : [dnat(address, port)]),
]

function openProbes(tunnel: TunnelSpec, targets: Targets, openings: Opening[]): void {
  for (const pair of tunnel.probe.pairs) {
    const chain = target(targets, `probe-${tunnel.index}`, into(tunnel.index, pair.peer, 0))
    for (const protocol of ['tcp', 'udp'] as const) {
      openings.push({
        map: `open${familyOf(pair.local)}`,
        key: openKey(pair.local, protocol, tunnel.probe.port),
        chain,
      })
    }
  }
}

/** Both marks before the translation, which ends the chain: this first packet is routed by them too. */
const into = (tunnel: number, to: Ip, port: number): string[] => [
  setConnectionMark(intoTunnel(tunnel)),
  setRoutingMark(routeMark(tunnel)),
  dnat(to, port),
]
/** nft allows a port only behind a match of the transport protocol. */
const dnat = (to: Ip, port: number): string =>
  port === 0
    ? `dnat ${familyOf(to) === 4 ? 'ip' : 'ip6'} to ${to}`
    : `meta l4proto { tcp, udp } dnat ${familyOf(to) === 4 ? 'ip' : 'ip6'} to ${hostPort(to, port)}`

const openKey = (address: Ip, protocol: Protocol, port: number): string => `${address} . ${protocol} . ${port}`

/** The chain for these rules: listeners that are treated alike share one. */
function target(targets: Targets, prefix: string, rules: string[]): string {
  const key = [prefix, ...rules].join('\n')
  const known = targets.byRules.get(key)
  if (known) return known.chain
  let number = 1
  while (targets.names.has(`${prefix}-${number}`)) number++
  const made = { chain: `${prefix}-${number}`, rules }
  targets.byRules.set(key, made)
  targets.names.add(made.chain)
  return made.chain
}

/** Elements in batches: one command of 65,535 ports would be a line of megabytes. */
function elements(openings: Opening[]): string[] {
  const batch = 1000
  const commands: string[] = []
  for (const map of dispatchMaps) {
    const own = openings.filter((opening) => opening.map === map)
    for (let start = 0; start < own.length; start += batch) {
      const list = own.slice(start, start + batch).map((opening) => `${opening.key} : goto ${opening.chain}`)
      commands.push(`add element inet ${table} ${map} { ${list.join(', ')} }`)
    }
  }
  return commands
}
