/**
 * The rules that hold opening packets, as text for `nft -f` and as arguments for iptables. nft(8),
 * "QUEUE STATEMENT"; iptables-extensions(8), NFQUEUE.
 *
 * They stand in a table of their own, ahead of connection tracking: what is released goes on to be
 * tracked and translated as if it had come just now, by the rules that stand then. A packet held
 * behind it would keep the old upstream.
 *
 * What is held are elements with a timeout: the kernel itself ends a hold whose agent is gone, so that
 * no packet is swallowed for longer than the hold was to last.
 */
import { type Family, familyOf, type Ip } from '../../proto/model/address.js'
import type { Protocol } from '../../proto/model/host-spec.js'
import { type Element, elementsText, listenerKey } from '../plan/elements.js'
import { markMask } from '../plan/own.js'

/** Not the table of the ruleset: an apply that tidies that one would delete base chains, and with them what is queued. */
export const holdTable = 'fleetmove-hold'

/**
 * How opening packets can be kept waiting on a host, best first: queued by nf_tables; queued by xtables'
 * NFQUEUE where nf_tables has no queue; not at all, only dropped, so that clients wait for their own retransmission.
 */
export type HoldMeans = 'nft-queue' | 'xtables-queue' | 'drop'

/** What is held: packets that open a connection to one address and port range, as they stand on the host. */
export interface HeldListener {
  protocol: Protocol
  address: Ip
  ports: { from: number; to: number }
}

/** Holds under way on one host at a time. */
export const holdSlots = 64
/** Numbers of netfilter queues are the host's: others mostly begin at 0. */
export const queueNumber = (slot: number): number => 5180 + slot
export const holdChain = (slot: number): string => `hold-${slot}`

/** The top bit of our byte: tunnels have numbers below 64, so no mark of theirs has it. */
const waiting = 0x80000000
/** A chain that nothing enters: it tells that the program's table `raw` came with our first rule. */
export const madeRawChain = (program: string): string => `made-raw-of-${program}`
const hex = (value: number): string => `0x${(value >>> 0).toString(16).padStart(8, '0')}`
/** Routing mark of a packet on its way to xtables' queue of this hold. */
export const waitingMark = (slot: number): number => (waiting | (slot << 24)) >>> 0
/** What a packet bears again once it is released: ours is taken off, others' bits stay. */
export const withoutOurMark = (mark: number): number => (mark & ~markMask) >>> 0

/** Ahead of xtables' raw table (-300) and of conntrack (-200), behind defragmentation (-400). */
const holdPriority = -310
const guardPriority = -290

/** `address . protocol . port`, as nft writes the elements of the maps. */
export function heldKeys(listeners: readonly HeldListener[], family: Family): string[] {
  const keys = new Set<string>()
  for (const { address, protocol, ports } of listeners) {
    if (familyOf(address) !== family) continue
    for (let port = ports.from; port <= ports.to; port++) keys.add(listenerKey(address, protocol, port))
  }
  return [...keys]
}

const guardHook = `add chain inet ${holdTable} guard { type filter hook prerouting priority ${guardPriority}; policy accept; }`

/**
 * What a hold by xtables needs before its first rule of iptables': an agent that is killed anywhere behind it
 * leaves a table by which the next one knows what there is to take away.
 * @param makesRawOf programs whose table `raw` isn't there yet
 */
export const announceText = (slot: number, makesRawOf: readonly string[]): string =>
  [
    `add table inet ${holdTable}`,
    guardHook,
    ...[holdChain(slot), ...makesRawOf.map(madeRawChain)].map((chain) => `add chain inet ${holdTable} ${chain}`),
    '',
  ].join('\n')

/**
 * All that one hold needs but the elements, in one transaction; others that are under way stay.
 * @param stale keys that a hold of a dead agent has left: they go
 * @param exceptDevices what comes in by these is let through: tunnels, where the peer has held it
 *   already or has let it go before its hold began
 */
export function openHoldText(
  means: HoldMeans,
  slot: number,
  listeners: readonly HeldListener[],
  exceptDevices: readonly string[],
  stale: ReadonlySet<string>,
): string {
  const chain = holdChain(slot)
  const rule = (name: string, content: string): string => `add rule inet ${holdTable} ${name} ${content}`
  // The host's own connections come in by lo: health checks must reach a service whose clients wait.
  const except = ['lo', ...exceptDevices].map((device) => `"${device}"`).join(', ')
  const text = [
    `add table inet ${holdTable}`,
    `add map inet ${holdTable} held4 { type ipv4_addr . inet_proto . inet_service : verdict; flags timeout; }`,
    `add map inet ${holdTable} held6 { type ipv6_addr . inet_proto . inet_service : verdict; flags timeout; }`,
    `add chain inet ${holdTable} prerouting { type filter hook prerouting priority ${holdPriority}; policy accept; }`,
    `flush chain inet ${holdTable} prerouting`,
    rule('prerouting', `iifname { ${except} } accept`),
    rule('prerouting', 'tcp flags & (fin | syn | rst | ack) != syn accept'),
    rule('prerouting', 'meta l4proto { tcp, udp } ip daddr . meta l4proto . th dport vmap @held4'),
    rule('prerouting', 'meta l4proto { tcp, udp } ip6 daddr . meta l4proto . th dport vmap @held6'),
    `add chain inet ${holdTable} ${chain}`,
    `flush chain inet ${holdTable} ${chain}`,
  ]
  if (means === 'nft-queue') text.push(rule(chain, `counter queue num ${queueNumber(slot)}`))
  if (means === 'drop') text.push(rule(chain, 'counter drop'))
  if (means === 'xtables-queue') {
    text.push(
      rule(chain, `counter meta mark set meta mark & ${hex(~markMask)} | ${hex(waitingMark(slot))}`),
      // Who comes out of the queue bears no mark any more. One that does has met no queue: somebody took
      // our iptables rule away. Its sender tries again; let through it would be refused.
      guardHook,
      `flush chain inet ${holdTable} guard`,
      rule('guard', `meta mark & ${hex(waiting)} == ${hex(waiting)} drop`),
    )
  }
  const remove = elementsOf(listeners).filter(({ key }) => stale.has(key))
  return `${text.join('\n')}\n${elementsText({ add: [], remove })}`
}

/**
 * From when these stand packets wait.
 * @param maxMs after which the kernel forgets the hold by itself
 */
export const heldElements = (slot: number, listeners: readonly HeldListener[], maxMs: number): Element[] =>
  elementsOf(listeners).map((element) => ({ ...element, verdict: `goto ${holdChain(slot)}`, timeoutMs: maxMs }))

/**
 * Ends one hold: what comes from now on passes. The chain stays until the table goes, since an element
 * that has expired keeps it in use until the kernel collects it.
 */
export function closeHoldText(slot: number, listeners: readonly HeldListener[]): string {
  const held = elementsOf(listeners).map((element) => ({ ...element, verdict: `goto ${holdChain(slot)}` }))
  // Added first, since deleting an element that has expired fails; with the words of the old one, or
  // it were another element.
  return `${elementsText({ remove: [], add: held })}${elementsText({ remove: held, add: [] })}`
}

const elementsOf = (listeners: readonly HeldListener[]): Element[] =>
  ([4, 6] as const).flatMap((family) =>
    heldKeys(listeners, family).map((key) => ({ table: holdTable, set: `held${family}`, key })),
  )

/** The rule of one hold that sends marked packets to its queue: arguments behind `-I`, `-D` or `-C`. */
export const xtablesRule = (slot: number): string[] => [
  'PREROUTING',
  ...['-m', 'mark', '--mark', `${hex(waitingMark(slot))}/${hex(markMask)}`],
  ...['-m', 'comment', '--comment', 'fleetmove-hold'],
  // Without --queue-bypass: when nobody listens the packet is dropped, and its sender tries again.
  ...['-j', 'NFQUEUE', '--queue-num', String(queueNumber(slot))],
]

/** Which of iptables' programs the listeners need. */
export const xtablesPrograms = (listeners: readonly HeldListener[]): string[] => {
  const families = new Set(listeners.map(({ address }) => familyOf(address)))
  return [...(families.has(4) ? ['iptables'] : []), ...(families.has(6) ? ['ip6tables'] : [])]
}

/**
 * For `nft -c`: passes where the kernel has nf_tables' queue. No base chain in it: taking one back, even
 * after a mere check, empties every queue of the network namespace.
 */
export const probeQueueText = (): string =>
  [
    `add table inet ${holdTable}-probe`,
    `add chain inet ${holdTable}-probe probe`,
    `add rule inet ${holdTable}-probe probe queue num ${queueNumber(0)}`,
    '',
  ].join('\n')
