/**
 * From what the kernel told of single packets to one packet's way through one host, and from the ways
 * through both hosts to a verdict.
 */
import type { Ip } from '../../proto/model/address.js'
import { ownerOf } from './rule-owner.js'

/** One look of one chain at one packet, as the agent tells it. */
export interface Hop {
  readonly packet: string
  readonly family: string
  readonly table: string
  readonly chain: string
  /** packet, rule, policy */
  readonly kind: string
  readonly verdict: string
  readonly text: string
}

export interface Leg {
  readonly host: string
  readonly direction: 'request' | 'reply'
  /** Device it came in by; null: this host sent it. */
  readonly in: string | null
  /** Device it left by; null: it was delivered here, or didn't get so far. */
  readonly out: string | null
  /** As it came, and as it went on: `address port` pairs. */
  readonly arrived: string
  readonly left: string
  /** A refusal (TCP's RST) and no part of a handshake. */
  readonly refusal: boolean
  /** Rules that did something, in order; `owner` tells whose they are. */
  readonly rules: readonly {
    readonly owner: string
    readonly chain: string
    readonly text: string
    readonly verdict: string
  }[]
  readonly end: 'delivered' | 'sent' | 'dropped' | 'vanished'
  /** After which hook a vanished packet wasn't seen any more. */
  readonly lastHook: string
}

/** The agent's chains at the end of each hook (agent/explain/trace-rules.ts). */
const ours = 'fleetmove-trace'

/**
 * The ways of packets through one host; of such as go the same way (retransmissions) the first one.
 * @param hops in the order in which the kernel told them
 */
export function legsOf(host: string, hops: readonly Hop[], client: Ip): Leg[] {
  const packets = new Map<string, Hop[]>()
  for (const hop of hops) packets.set(hop.packet, [...(packets.get(hop.packet) ?? []), hop])
  const legs = [...packets.values()].flatMap((own) => legOf(host, own, client) ?? [])
  const key = ({ direction, arrived, end, refusal }: Leg): string => `${direction} ${arrived} ${end} ${refusal}`
  return legs.filter((leg, i) => legs.findIndex((other) => key(other) === key(leg)) === i)
}

/** In the order of the way: to the host that answers and back. */
export function inOrderOfWay(legs: readonly Leg[], ingress: string): Leg[] {
  const place = ({ direction, host }: Leg): number =>
    (direction === 'request' ? 0 : 2) + Number((host === ingress) !== (direction === 'request'))
  return [...legs].sort((a, b) => place(a) - place(b))
}

function legOf(host: string, hops: readonly Hop[], client: Ip): Leg | undefined {
  const headers = hops.filter(({ kind }) => kind === 'packet').map(({ text }) => text)
  const [first, last] = [headers[0], headers.at(-1)]
  if (first === undefined || last === undefined) return undefined
  const passed = hops.filter(({ table, kind }) => table === ours && kind === 'policy').map(({ chain }) => chain)
  const lastHook = passed.at(-1)?.replace('after-', '') ?? ''
  const drop = hops.some(({ verdict }) => verdict === 'drop')
  const out = field(last, 'oif')
  return {
    host,
    direction: new RegExp(`\\bip6? saddr ${client.replaceAll('.', '\\.')}(\\s|$)`).test(first) ? 'request' : 'reply',
    in: field(first, 'iif'),
    out: lastHook === 'postrouting' ? out : null,
    arrived: ends(first),
    left: ends(last),
    refusal: isReset(first),
    rules: hops.flatMap(decision),
    end: drop ? 'dropped' : lastHook === 'postrouting' ? 'sent' : lastHook === 'input' ? 'delivered' : 'vanished',
    lastHook,
  }
}

/** Counting and passing on is nothing to tell of. */
function decision(hop: Hop): Leg['rules'] {
  if (hop.table === ours) return []
  const place = { owner: ownerOf(hop), chain: hop.chain }
  if (hop.kind === 'policy') return hop.verdict === 'drop' ? [{ ...place, text: 'policy', verdict: 'drop' }] : []
  if (hop.kind !== 'rule') return []
  const does = /\b(dnat|snat|masquerade|redirect|tproxy|queue|reject|drop|mark set|notrack|ct zone)\b/i.test(hop.text)
  if (hop.verdict === 'continue' && !does) return []
  return [{ ...place, text: hop.text, verdict: hop.verdict }]
}

/** nft prints devices in quotes. */
const field = (header: string, name: 'iif' | 'oif'): string | null =>
  new RegExp(`\\b${name} "?([^" ]+)"?`).exec(header)?.[1] ?? null

function ends(header: string): string {
  // Ethernet's addresses are called saddr and daddr, too.
  const address = (name: string): string => new RegExp(`\\bip6? ${name} (\\S+)`).exec(header)?.[1] ?? '?'
  const port = (name: string): string => new RegExp(`\\b${name} (\\d+)`).exec(header)?.[1] ?? '?'
  return `${address('saddr')} ${port('sport')} → ${address('daddr')} ${port('dport')}`
}

/** TCP's RST is 0x04 (RFC 9293 3.1); nft -nn prints the flags as a number, or as names. */
function isReset(header: string): boolean {
  const flags = /\btcp flags == (\S+)/.exec(header)?.[1] ?? ''
  return flags.startsWith('0x') ? (Number.parseInt(flags, 16) & 0x04) !== 0 : flags.includes('rst')
}

export interface JourneyInput {
  /** The host whose address the client uses, and the one that answers; the same where it is straight. */
  readonly ingress: string
  readonly active: string
  /** In the order of the way: legs of the ingress, then of the active host. */
  readonly legs: readonly Leg[]
  /** Whether the service was heard to answer. */
  readonly answered: boolean
  /** Who sent the packets, for sentences. */
  readonly sender: string
}

export interface JourneyVerdict {
  readonly ok: boolean
  /** One sentence without a full stop. */
  readonly text: string
  readonly hint: string
}

export function judge({ ingress, active, legs, answered, sender }: JourneyInput): JourneyVerdict {
  const of = (host: string, direction: Leg['direction']): Leg | undefined =>
    legs.find((leg) => leg.host === host && leg.direction === direction)
  const stopped = legs.find(({ end }) => end === 'dropped') ?? legs.find(({ end }) => end === 'vanished')
  const request = of(ingress, 'request')
  if (!request) {
    return bad(
      `nothing of ${sender} arrived at ${ingress}`,
      `look for a firewall or a route in front of ${ingress}; its own rules have not seen a packet`,
    )
  }
  if (stopped && !answered) return stoppedAt(stopped)
  const further = ingress === active ? request : of(active, 'request')
  if (!further) {
    return bad(
      `${ingress} sent it into ${request.out ?? 'nowhere'}, but it did not come out on ${active}`,
      'look at the tunnel with `fleetmove status`; its UDP port may be closed on the way',
    )
  }
  const reply = of(active, 'reply')
  if (!reply) {
    return bad(
      `it reached ${active}, and nothing answered`,
      `check that the service on ${active} runs and listens on ${further.left.split(' ').slice(3).join(' ')}`,
    )
  }
  if (reply.refusal) {
    return bad(`${active} refused it: nobody listens there, or a rule rejects it`, `start the service on ${active}`)
  }
  const home = ingress === active ? reply : of(ingress, 'reply')
  if (!home) {
    const where = reply.out === null ? '' : ` by ${reply.out}`
    return bad(
      `the answer left ${active}${where}, but did not come back to ${ingress}`,
      `on ${active} it must go into the tunnel: look for a rule there that changes marks or routes`,
    )
  }
  if (!answered) {
    return bad(
      `the answer left ${ingress} by ${home.out ?? 'no device'}, and ${sender} has not heard it`,
      `look for a firewall in front of ${ingress} that doesn't let its answers out`,
    )
  }
  return { ok: true, text: `it passes both ways, and ${active} answers`, hint: '' }
}

const bad = (text: string, hint: string): JourneyVerdict => ({ ok: false, text, hint })

function stoppedAt(leg: Leg): JourneyVerdict {
  const what = leg.direction === 'request' ? 'it' : 'the answer'
  const rule = leg.end === 'dropped' ? leg.rules.findLast(({ verdict }) => verdict === 'drop') : undefined
  if (rule) {
    const how =
      rule.text === 'policy' ? `the policy of chain ${rule.chain}` : `the rule "${rule.text}" in chain ${rule.chain}`
    return bad(
      `${leg.host} drops ${what}: ${how} (${rule.owner})`,
      `change it on ${leg.host}, or put a rule ahead of it that lets the service through`,
    )
  }
  const after = leg.lastHook === '' ? 'on its way in' : `after ${leg.lastHook}`
  return bad(
    `${leg.host} loses ${what} ${after}, though no rule of nf_tables drops it`,
    'the kernel itself dropped it: reverse path filter, no route, forwarding off, or rules of iptables-legacy',
  )
}
