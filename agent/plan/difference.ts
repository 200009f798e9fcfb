/**
 * Desired × observed → the steps between them, in the one order in which they may be taken. Pure: the
 * plan that an operator reads is what happens. After all steps the difference is empty.
 *
 * Receiver before sender: devices, addresses, routes and rules stand before the ruleset steers packets
 * to them, and forwarding is opened when the guard stands. Taken down the other way round.
 */
import type { Observed, ObservedTable } from '../kernel/observed.js'
import type { Step } from '../kernel/step.js'
import type { AddressSpec, AsideTable, Desired, LinkSpec, ProcessSpec, RouteSpec, RuleSpec } from './desired.js'
import { firewallSteps } from './firewall/firewall-rules.js'
import { deviceOf, makeRoom, wireguardProcess } from './make-room.js'
import { addressSteps, keepsFound } from './moved-addresses.js'
import { overridesChange } from './overrides.js'
import { isOurDevice } from './own.js'
import { sameFrame } from './ruleset.js'
import { needsTable, opensForwarding } from './sysctls.js'

export { processFingerprint } from './make-room.js'

/** Sysctls and addresses as they were before we first changed them; kept in the ledger until they are put back. */
export type Found = Readonly<Record<string, string>>

export interface Difference {
  steps: Step[]
  /** What must be in the ledger before the first step is taken. */
  found: Found
}

export function difference(desired: Desired, present: Observed, found: Found): Difference {
  const { steps: room, rest: observed } = makeRoom(desired, present)
  const sysctls = sysctlSteps(desired, observed, found)
  const firewall = firewallSteps(desired.firewall, observed.firewalls)
  const moved = addressSteps(desired.moved, observed, sysctls.found)
  const asides = asideSteps(desired, observed)
  const steps: Step[] = [
    ...room,
    ...linkSteps(desired, observed),
    ...missing(desired.addresses, observed.addresses, addressKey).map(
      (address): Step => ({ do: 'add-address', address }),
    ),
    ...sysctls.first,
    ...missing(desired.routes, observed.routes, routeKey).map((route): Step => ({ do: 'add-route', route })),
    ...missing(desired.rules, observed.rules, ruleKey).map((rule): Step => ({ do: 'add-rule', rule })),
    ...firewall.adding,
    ...rulesetSteps(desired, observed),
    ...asides.loading,
    ...moved.adding,
    ...moved.removing,
    ...asides.deleting,
    ...sysctls.opening,
    ...sysctls.restoring,
    ...firewall.removing,
    ...(desired.ruleset === null && observed.table !== null ? [{ do: 'delete-table' } as const] : []),
    ...missing(observed.rules, desired.rules, ruleKey).map((rule): Step => ({ do: 'delete-rule', rule })),
    ...missing(observed.routes, desired.routes, routeKey).map((route): Step => ({ do: 'delete-route', route })),
    ...staleAddresses(desired, observed),
    ...staleLinks(desired, observed),
    ...staleProcesses(desired, observed),
  ]
  return { steps, found: moved.found }
}

function asideSteps({ moved }: Desired, observed: Observed): { loading: Step[]; deleting: Step[] } {
  const stands = (wanted: AsideTable): boolean =>
    observed.asides.some(
      (each) => each.family === wanted.family && each.fingerprint === wanted.fingerprint && each.rules === wanted.rules,
    )
  const stale = observed.asides.filter(({ family }) => !moved.asides.some((wanted) => wanted.family === family))
  return {
    loading: moved.asides.filter((wanted) => !stands(wanted)).map((aside) => ({ do: 'load-aside', aside })),
    deleting: stale.map(({ family }) => ({ do: 'delete-aside', family })),
  }
}

function missing<T>(from: readonly T[], present: readonly T[], key: (item: T) => string): T[] {
  const there = new Set(present.map(key))
  return from.filter((item) => !there.has(key(item)))
}

const addressKey = (a: AddressSpec): string => `${a.device} ${a.ip}/${a.prefix}`
/** The kernel shows IPv6 blackholes on `lo`; their device says nothing. */
const routeKey = (r: RouteSpec): string =>
  [r.family, r.table, r.kind, r.kind === 'blackhole' ? '' : r.device, r.via ?? '', r.metric].join(' ')
const ruleKey = (r: RuleSpec): string => [r.family, r.priority, r.mark, r.mask, r.table].join(' ')

function linkSteps(desired: Desired, observed: Observed): Step[] {
  const steps: Step[] = []
  const seen = new Map(observed.links.map((link) => [link.name, link]))
  const started = new Set<string>()
  const start = (process: ProcessSpec): void => {
    if (started.has(process.name) || observed.processes[process.name] !== undefined) return
    started.add(process.name)
    steps.push({ do: 'start-process', process })
  }
  for (const link of desired.links) {
    if (link.kind === 'existing') continue
    const present = seen.get(link.name)
    if (link.kind === 'wireguard') {
      // A wireguard-go process makes the device, and the device goes with it.
      const maker = link.userspace ? desired.processes.find((p) => p.name === wireguardProcess(link.name)) : undefined
      if (maker) start(maker)
      else if (!present) steps.push({ do: 'add-link', link })
      if (!present || !sameWireguard(link, observed)) steps.push({ do: 'configure-wireguard', link })
    } else if (!present) steps.push({ do: 'add-link', link })
    if (!present || present.mtu !== link.mtu || !present.up) {
      steps.push({ do: 'set-link', name: link.name, mtu: link.mtu, up: true })
    }
  }
  for (const process of desired.processes) start(process)
  return steps
}

function sameWireguard(link: Extract<LinkSpec, { kind: 'wireguard' }>, observed: Observed): boolean {
  const present = observed.wireguard.find((device) => device.name === link.name)
  const peer = present?.peers[0]
  // The endpoint isn't compared: WireGuard itself follows a peer that moves.
  return (
    present !== undefined &&
    present.listenPort === link.listenPort &&
    present.peers.length === 1 &&
    peer?.publicKey === link.peer.publicKey &&
    [...peer.allowedIps].sort().join() === [...link.peer.allowedIps].sort().join()
  )
}

function rulesetSteps(desired: Desired, observed: Observed): Step[] {
  if (desired.ruleset === null) return []
  const { fingerprint: mark, chains, frame, counters, rules, elements, overrides, servicesText } = desired.ruleset
  const has = (name: string): boolean => observed.table?.chains.includes(name) ?? false
  const stamp = observed.table?.fingerprint ?? ''
  if (observed.table && stamp === mark && chains.every(has) && holdsAll(observed.table, rules, elements)) {
    const change = overridesChange(observed.table.overrides, overrides)
    return change ? [{ do: 'change-elements', ...change }] : []
  }
  const framed =
    sameFrame(stamp, mark) && frame.every((name) => has(name) && observed.table?.rules[name] === rules[name])
  const text = framed ? servicesText : desired.ruleset.text
  const staleChains = (observed.table?.chains ?? []).filter((name) => !chains.includes(name))
  const staleCounters = (observed.table?.counters ?? []).filter((name) => !counters.includes(name))
  // In the same transaction, behind the text: by then nothing refers to them any more.
  const removal = [
    ...staleChains.map((name) => `flush chain inet fleetmove ${name}`),
    ...staleChains.map((name) => `delete chain inet fleetmove ${name}`),
    ...staleCounters.map((name) => `delete counter inet fleetmove ${name}`),
  ]
  const all = removal.length === 0 ? text : `${text}${removal.join('\n')}\n`
  const known = { fingerprint: mark, chains, counters, rules, elements, overrides }
  return [{ do: 'load-ruleset', ...known, hooks: !framed, text: all }]
}

/** The fingerprint tells what was loaded; whether somebody has taken rules or elements out since, numbers tell. */
const holdsAll = (
  present: ObservedTable,
  rules: Readonly<Record<string, number>>,
  elements: Readonly<Record<string, number>>,
): boolean =>
  Object.entries(rules).every(([chain, count]) => present.rules[chain] === count) &&
  Object.entries(elements).every(([map, count]) => present.elements[map] === count)

function sysctlSteps(
  desired: Desired,
  observed: Observed,
  found: Found,
): { first: Step[]; opening: Step[]; restoring: Step[]; found: Found } {
  const kept: Record<string, string> = { ...found }
  const first: Step[] = []
  const opening: Step[] = []
  for (const [key, value] of Object.entries(desired.sysctls)) {
    const now = observed.sysctls[key]
    if (now === value) continue
    if (now !== undefined && !(key in kept) && !isOurDevice(deviceOf(key))) {
      kept[key] = now
      if (key === 'net.ipv6.conf.all.forwarding') Object.assign(kept, perDevice(observed, kept))
    }
    ;(opensForwarding(key) || needsTable(key) ? opening : first).push({ do: 'set-sysctl', key, value })
  }
  const restoring: Step[] = []
  const stale = Object.entries(kept).filter(([key]) => !(key in desired.sysctls) && !heldByAll(key, desired))
  // `all` first, because it overwrites the devices'; then what opened forwarding, then the rest.
  stale.sort(([a], [b]) => restoreRank(a) - restoreRank(b) || (a < b ? -1 : 1))
  const allWillReset = stale.some(([key, value]) => key === allForwarding && observed.sysctls[key] !== value)
  for (const [key, value] of stale) {
    const now = observed.sysctls[key]
    const afterAll = allWillReset && isDeviceForwarding6(key) ? kept[allForwarding] : now
    if (now !== undefined && afterAll !== value) restoring.push({ do: 'set-sysctl', key, value })
  }
  return { first, opening, restoring, found: kept }
}

const allForwarding = 'net.ipv6.conf.all.forwarding'
const isDeviceForwarding6 = (key: string): boolean =>
  key.startsWith('net.ipv6.conf.') && key.endsWith('.forwarding') && key !== allForwarding
const heldByAll = (key: string, desired: Desired): boolean =>
  isDeviceForwarding6(key) && allForwarding in desired.sysctls
const restoreRank = (key: string): number => (key === allForwarding ? 0 : opensForwarding(key) ? 1 : 2)

function perDevice(observed: Observed, kept: Found): Record<string, string> {
  const entries = Object.entries(observed.sysctls).filter(
    ([key]) => isDeviceForwarding6(key) && !(key in kept) && !isOurDevice(deviceOf(key)),
  )
  return Object.fromEntries(entries)
}

/** What the ledger may forget once the restoring steps are done. */
export function stillFound(found: Found, desired: Desired): Found {
  const stays = (key: string): boolean =>
    key in desired.sysctls || heldByAll(key, desired) || keepsFound(desired.moved, key)
  return Object.fromEntries(Object.entries(found).filter(([key]) => stays(key)))
}

function staleAddresses(desired: Desired, observed: Observed): Step[] {
  const devices = new Set(desired.links.filter((link) => link.kind !== 'existing').map((link) => link.name))
  // Link-local addresses come and go with the device; those of stale devices go with it.
  return missing(
    observed.addresses.filter((a) => devices.has(a.device) && !a.ip.startsWith('fe80:')),
    desired.addresses,
    addressKey,
  ).map((address) => ({ do: 'delete-address', address }))
}

function staleLinks(desired: Desired, observed: Observed): Step[] {
  const wanted = new Set(desired.links.map((link) => link.name))
  return (
    observed.links
      .filter((link) => isOurDevice(link.name) && !wanted.has(link.name))
      // A wireguard-go device goes when its process stops.
      .filter((link) => observed.processes[wireguardProcess(link.name)] === undefined)
      // VXLAN before the WireGuard that it rides on.
      .sort((a, b) => (a.name.startsWith('fmw') ? 1 : 0) - (b.name.startsWith('fmw') ? 1 : 0))
      .map((link) => ({ do: 'delete-link', name: link.name }))
  )
}

function staleProcesses(desired: Desired, observed: Observed): Step[] {
  const wanted = new Set(desired.processes.map((process) => process.name))
  return Object.keys(observed.processes)
    .filter((name) => !wanted.has(name))
    .map((name) => ({ do: 'stop-process', name }))
}
