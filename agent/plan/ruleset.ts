/**
 * The table `inet fleetmove`, whole, as one transaction for `nft -f`: the same shape on both hosts.
 *
 * What an opening packet meets: one look-up among the listeners of services in a gap (overrides.ts), one in
 * a verdict map (`open4`, `open6`), however many listeners there are, then the chain of its service. What
 * every later packet meets: one look-up of its device and one of its connection's mark; all that concerns
 * few packets stands in chains that the others don't enter. nft(8), "VERDICT MAP STATEMENT", "CONNTRACK
 * EXPRESSIONS".
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
  type ServeAction,
  type ServiceAction,
  type ServiceRoute,
  type ServiceSpec,
  serveOf,
  type TunnelSpec,
} from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'
import { arrivalSet, recordArrival } from './arrival-sets.js'
import {
  carryChain,
  chainOf,
  darkChain,
  egressChain,
  helpersChain,
  ownEgressChain,
  type Part,
  setConnectionMark,
  setRoutingMark,
  strangersChain,
  unzonedChain,
} from './chain.js'
import { refuseChecks } from './dark.js'
import type { Ruleset } from './desired.js'
import { declareOwnSets, guardLeaving, leaveElsewhere, leaveHere, leaveOwn } from './egress.js'
import { elementsText, listenerKey } from './elements.js'
import { fingerprint } from './fingerprint.js'
import { type FrameInput, frameOf } from './frame.js'
import { assignHelpers, helperObjects, leaveUnzoned } from './ftp.js'
import { lateAnswerSets } from './late-answers.js'
import { declareOverrides, type OverrideMap, type Overrides, overridesText } from './overrides.js'
import { intoTunnel, lateCounter, routeMark, table } from './own.js'
import { refuseUntranslated, toRedirect } from './redirects.js'
import { splitRules } from './split-rules.js'
import { meetSilence, switchCounters, switchSets } from './unreachable.js'

export interface RulesetInput extends FrameInput {
  spec: HostSpec
}

interface Target {
  chain: string
  rules: string[]
}
interface Targets {
  byRules: Map<string, Target>
  names: Set<string>
  /** Keys of that map that are taken. */
  localhost: Set<string>
}
/** Where opening packets are dispatched. */
export const dispatchMaps = ['open4', 'open6', 'localhost'] as const
/** What becomes of opening packets for one listener: an element. */
interface Opening {
  map: (typeof dispatchMaps)[number] | OverrideMap
  key: string
  verdict: string
}

/** The text for this host, with the names it declares. Same input, same text. */
export function ruleset(input: RulesetInput): Ruleset {
  const tunnels = [...input.spec.tunnels].sort((a, b) => a.index - b.index)
  const services = [...input.spec.services].sort((a, b) => (a.name < b.name ? -1 : 1))
  const targets: Targets = { byRules: new Map(), names: new Set(), localhost: new Set() }
  const openings: Opening[] = []
  for (const service of services) openService(input.spec.host, service, targets, openings)
  for (const tunnel of tunnels) openProbes(tunnel, targets, openings)

  const counters = [
    lateCounter,
    ...switchCounters(tunnels),
    ...services.flatMap((service) => [forwardedCounter(service.name), servedCounter(service.name)]),
  ]
  const frame = frameOf(input, tunnels)
  const mark = (index: number): string => setConnectionMark(intoTunnel(index))
  const ofServices = [
    { chain: egressChain, rules: leaveElsewhere(services, tunnels, mark) },
    { chain: ownEgressChain, rules: leaveOwn(services, tunnels, mark) },
    { chain: carryChain, rules: leaveHere(services, input.devices) },
    { chain: strangersChain, rules: guardLeaving(services, input.devices) },
    { chain: helpersChain, rules: assignHelpers(services) },
    { chain: darkChain, rules: [...refuseChecks(input.spec.host, services), ...refuseUntranslated(services)] },
    { chain: unzonedChain, rules: leaveUnzoned(services) },
    ...targets.byRules.values(),
  ].map(chainOf)
  const of = (map: Opening['map']): Opening[] => openings.filter((opening) => opening.map === map)
  const overridden = (map: OverrideMap): string[] =>
    [...new Set(of(map).map(({ key, verdict }) => `${key} : ${verdict}`))].sort()
  const overrides: Overrides = {
    override4: overridden('override4'),
    override6: overridden('override6'),
    'override-localhost': overridden('override-localhost'),
  }
  const opened = elementsText({
    add: openings
      .filter(({ map }) => (dispatchMaps as readonly string[]).includes(map))
      .map(({ map, key, verdict }) => ({ table, set: map, key, verdict })),
    remove: [],
  })
  const stampText = `${fingerprint(partsText(frame))}${fingerprint([...counters, partsText(ofServices), opened].join('\n'))}`
  const rulesOf = (part: Part): string[] => part.rules.map((rule) => `add rule inet ${table} ${part.chain} ${rule}`)
  const begin = [
    `add table inet ${table}`,
    ...helperObjects(services),
    ...declareOwnSets(services),
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
    ...switchSets,
    ...declareOverrides,
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
      `${opened}${overridesText(overrides)}`,
    ].join('\n')
  return {
    fingerprint: stampText,
    chains: [stamp, ...frame, ...ofServices].map((part) => part.chain),
    frame: frame.map((part) => part.chain),
    counters,
    rules: Object.fromEntries([stamp, ...frame, ...ofServices].map(({ chain, rules }) => [chain, rules.length])),
    elements: Object.fromEntries(dispatchMaps.map((map) => [map, of(map).length])),
    overrides,
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

function openService(host: Name, service: ServiceSpec, targets: Targets, openings: Opening[]): void {
  const toChain = (route: ServiceRoute, action: ServiceAction): string =>
    `goto ${routeChain(host, service, route.address, action, targets)}`
  for (const route of service.routes) {
    const { action, ready } = route
    const dispatched = ready?.dispatched ?? (action.kind === 'pause' ? undefined : action)
    const usual = dispatched && toChain(route, dispatched)
    // It stands, whether something leads there now or not.
    if (ready) toChain(route, ready.standby)
    const now = action.kind === 'pause' ? 'drop' : toChain(route, action)
    const family = familyOf(route.address)
    const usualLocal = dispatched?.kind === 'forward' ? usual : undefined
    const localNow = action.kind === 'forward' || action.kind === 'pause' ? now : 'accept'
    const isLocal = service.localhost && family === 4 && (usualLocal !== undefined || localNow !== 'accept')
    for (let port = route.ports.from; port <= route.ports.to; port++) {
      const key = listenerKey(route.address, route.protocol, port)
      if (usual !== undefined) openings.push({ map: `open${family}`, key, verdict: usual })
      if (now !== usual) openings.push({ map: `override${family}`, key, verdict: now })
      const local = `${route.protocol} . ${port}`
      // Of several addresses the first will do.
      if (!isLocal || targets.localhost.has(local)) continue
      targets.localhost.add(local)
      if (usualLocal !== undefined) openings.push({ map: 'localhost', key: local, verdict: usualLocal })
      if (localNow !== usualLocal) openings.push({ map: 'override-localhost', key: local, verdict: localNow })
    }
  }
}

function routeChain(host: Name, service: ServiceSpec, address: Ip, action: ServiceAction, targets: Targets): string {
  if (action.kind === 'redirect') return target(targets, `redirect-${service.name}`, redirectRules(service, address))
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

/** Its clients still come by the old address. */
const redirectRules = (service: ServiceSpec, address: Ip): string[] => [
  `counter name "${forwardedCounter(service.name)}"`,
  recordArrival(familyOf(address)),
  toRedirect(address, service.redirect!.port),
]

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
        key: listenerKey(pair.local, protocol, tunnel.probe.port),
        verdict: `goto ${chain}`,
      })
    }
  }
}

/** Both marks before the translation, which ends the chain: this first packet is routed by them too. */
const into = (tunnel: number, to: Ip, port: number): string[] => [
  setConnectionMark(intoTunnel(tunnel)),
  meetSilence(tunnel),
  setRoutingMark(routeMark(tunnel)),
  dnat(to, port),
]
/** nft allows a port only behind a match of the transport protocol. */
const dnat = (to: Ip, port: number): string =>
  port === 0
    ? `dnat ${familyOf(to) === 4 ? 'ip' : 'ip6'} to ${to}`
    : `meta l4proto { tcp, udp } dnat ${familyOf(to) === 4 ? 'ip' : 'ip6'} to ${hostPort(to, port)}`

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
