/**
 * What a probe proves, from everything known of it: pure. A client's address survives where the
 * origin sees the probe, through the forwarder, from the same address as straight.
 */
import { hostPort, type Ip } from '../../proto/model/address.js'
import {
  type FlowEvidence,
  largestProbe,
  type ProbeResult,
  type ProbeSpec,
  type Receipt,
} from '../../proto/model/probe.js'

export interface VerdictInput {
  /** Where the probe was sent; its address is the forwarder's. */
  spec: Pick<ProbeSpec, 'protocol' | 'address' | 'port' | 'bytes' | 'connectOnly'>
  result: ProbeResult
  /** What the origin's agent saw of it; null where nothing arrived (or for a real listener, which has no witness). */
  receipt: Receipt | null
  /** The same prober straight to the origin's own address: which source address to expect. */
  straight: Receipt | null
  /** For a real listener (`connectOnly`): how the connection shows on the origin; null where it wasn't looked for. */
  flow: FlowEvidence | null
  /** Name and addresses (of its tunnel end, too) of the host that forwards, and the name of the one that answers. */
  forwarder: { name: string; addresses: readonly Ip[] }
  origin: { name: string }
  /** The origin is expected to see it come out of a tunnel: a probe of the forwarder's address. False for a straight one. */
  throughTunnel: boolean
}

export interface Verdict {
  kind: 'preserved' | 'masqueraded' | 'unreachable' | 'truncated'
  /** One sentence without a full stop: what was seen and the likely cause. */
  cause: string
}

/** The receipt of a probe: of the tries that arrived, the one of which the most arrived; null for none. */
export function receiptOf(receipts: readonly Receipt[], token: Uint8Array): Receipt | null {
  const own = receipts.filter(
    (receipt) => receipt.token.length === token.length && receipt.token.every((b, i) => b === token[i]),
  )
  return own.reduce<Receipt | null>((best, each) => (best && best.bytes >= each.bytes ? best : each), null)
}

/** Judges one probe. */
export function verdict(input: VerdictInput): Verdict {
  const { result, receipt } = input
  // First what tells of sizes: the small part of such a probe has arrived, from whatever source.
  if (result.outcome === 'truncated') return truncated(input)
  if (receipt) {
    if (result.outcome === 'answered') return judgeSource(input, receipt)
    return { kind: 'unreachable', cause: unanswered(input, receipt) }
  }
  if (input.spec.connectOnly) return judgeFlow(input)
  return { kind: 'unreachable', cause: withoutReceipt(input) }
}

const targetOf = ({ spec }: VerdictInput): string => `${spec.protocol} ${hostPort(spec.address, spec.port)}`

function judgeSource(input: VerdictInput, receipt: Receipt): Verdict {
  const { straight, result, forwarder, origin } = input
  // Behind a translation of its own, a prober doesn't know the address that the world sees.
  const expected = straight?.source ?? result.source
  const saw = `${origin.name} saw ${receipt.source}`
  if (receipt.source === expected) {
    const compared = straight ? 'the same address as straight' : "the prober's own address"
    return { kind: 'preserved', cause: `${saw}, ${compared}` }
  }
  const instead = `${saw} instead of ${expected === '' ? "the client's address" : expected}`
  if (forwarder.addresses.includes(receipt.source)) {
    return {
      kind: 'masqueraded',
      cause: `${instead}: a masquerade or SNAT rule on ${forwarder.name} rewrites what it forwards (look for it with \`nft list ruleset\` and \`iptables-save -t nat\` there)`,
    }
  }
  if (!straight) {
    return {
      kind: 'masqueraded',
      cause: `${instead}: the prober is behind address translation, or one stands on the way; without a straight probe of ${origin.name} there is no telling them apart`,
    }
  }
  return {
    kind: 'masqueraded',
    cause: `${instead}, which is none of ${forwarder.name}'s addresses: something between the client and ${forwarder.name}, or on ${origin.name} itself (a container network's masquerade), rewrites it`,
  }
}

/** A real listener: the connection's socket or tracking entry on the origin stands for the receipt. */
function judgeFlow(input: VerdictInput): Verdict {
  const { result, flow, origin, forwarder, throughTunnel } = input
  // A server may close an idle or unwanted connection at once: it stood, all the same.
  const stood = result.outcome === 'answered' || (result.outcome === 'closed' && result.connectMs > 0)
  // An empty datagram need not be answered.
  const sent = input.spec.protocol === 'udp' && result.outcome === 'timeout'
  if (!flow?.found) {
    if (!stood) return { kind: 'unreachable', cause: withoutReceipt(input) }
    const detail = flow ? `: ${flow.detail}` : ''
    return {
      kind: 'masqueraded',
      cause: `${targetOf(input)} took the connection, but ${origin.name} shows none from this client${detail}: a masquerade rule or a proxy on ${forwarder.name} stands in between, or another host answered`,
    }
  }
  if (!stood && !sent) {
    return {
      kind: 'unreachable',
      cause: `the connection arrived at ${origin.name} (${flow.detail}), but the prober has none (${result.detail}): the way back is broken`,
    }
  }
  if (throughTunnel && flow.tunnel === 0) {
    return {
      kind: 'unreachable',
      cause: `${origin.name} has a connection from this client, but it did not come out of a tunnel (${flow.detail}): its answers will not go back by ${forwarder.name}`,
    }
  }
  return {
    kind: 'preserved',
    cause: `${flow.evidence === 'socket' ? 'a socket' : 'connection tracking'} of ${origin.name} has the client's own address: ${flow.detail}`,
  }
}

function truncated(input: VerdictInput): Verdict {
  const { spec, result, receipt, origin } = input
  const direction = !receipt
    ? 'large packets are lost on the way'
    : receipt.bytes >= Math.min(spec.bytes, largestProbe)
      ? 'large packets are lost on the way back'
      : `large packets are lost on the way to ${origin.name}`
  return {
    kind: 'truncated',
    cause: `small packets pass, ${direction} (${result.detail}): the path carries less than the hosts believe, and a firewall on it drops the ICMP messages that would say so; measure the path anew, or lower the tunnel's MTU`,
  }
}

/** It arrived, and its prober knows nothing of it. */
function unanswered(input: VerdictInput, receipt: Receipt): string {
  const { result, origin, forwarder, throughTunnel } = input
  const arrived = `the probe arrived at ${origin.name} from ${receipt.source}, but its answer did not come back (${result.detail})`
  if (!throughTunnel)
    return `${arrived}: a firewall on the way back, or a route of ${origin.name} that leaves elsewhere`
  return `${arrived}: the return path is broken; either ${origin.name} sends its answer straight instead of into the tunnel, or a firewall on ${forwarder.name} drops it (its FORWARD chain, or rp_filter)`
}

function withoutReceipt(input: VerdictInput): string {
  const { result, straight, forwarder, origin, throughTunnel } = input
  const target = targetOf(input)
  switch (result.outcome) {
    case 'refused':
      if (!throughTunnel) return `${target} refused: nothing listens on ${origin.name}, or a firewall there rejects`
      return straight
        ? `${target} refused, while ${origin.name} answers straight: ${forwarder.name} doesn't forward this port, or a firewall on it rejects`
        : `${target} refused: nothing listens on ${origin.name}, or a firewall on either host rejects`
    case 'timeout':
      if (!throughTunnel)
        return `${target} did not answer (${result.detail}): ${origin.name} is down, or a firewall drops the packets`
      return straight
        ? `${target} did not answer and nothing arrived at ${origin.name}, which answers straight: the tunnel is down, or a firewall on ${forwarder.name} or of its provider drops the packets`
        : `${target} did not answer and nothing arrived at ${origin.name}, by this way or straight: a firewall in front of the hosts drops this port, or ${origin.name}'s agent doesn't listen`
    case 'error':
      return `the prober could not send (${result.detail})`
    case 'answered':
      return `${target} was answered, but not by ${origin.name}'s agent, which saw nothing: another program or host answers there`
    case 'closed':
      return `${target} took the connection and closed it, and ${origin.name}'s agent saw nothing (${result.detail}): another program listens there, or a proxy stands in between`
    case 'truncated':
      return result.detail
  }
}
