import { receiptOf, type VerdictInput, verdict } from '../../../../controller/plan/verdict.js'
import type { Ip } from '../../../../proto/model/address.js'
import type { FlowEvidence, ProbeOutcome, ProbeResult, Receipt } from '../../../../proto/model/probe.js'

const ip = (text: string): Ip => text as Ip
const client = ip('198.18.9.9')
const forwarder = { name: 'old', addresses: [ip('203.0.113.10'), ip('10.90.0.1')] }
const origin = { name: 'new' }
const token = new Uint8Array(16).fill(7)

const receipt = (part: Partial<Receipt> = {}): Receipt => ({
  ...{ token, protocol: 'tcp', source: client, sourcePort: 4000, bytes: 3000, timeMs: 1 },
  ...{ destination: ip('198.51.100.20'), destinationPort: 7000 },
  ...part,
})
const result = (outcome: ProbeOutcome, part: Partial<ProbeResult> = {}): ProbeResult => ({
  ...{ outcome, source: client, sourcePort: 4000, bytes: 0, connectMs: 3, detail: 'so it was' },
  ...part,
})
const flow = (part: Partial<FlowEvidence> = {}): FlowEvidence => ({
  ...{ found: true, evidence: 'socket', tunnel: 1, detail: 'a socket of …' },
  ...part,
})
const input = (part: Partial<VerdictInput>): VerdictInput => ({
  spec: { protocol: 'tcp', address: ip('203.0.113.10'), port: 7000, bytes: 3000, connectOnly: false },
  ...{ result: result('answered'), receipt: receipt(), straight: receipt(), flow: null, throughTunnel: true },
  ...{ forwarder, origin },
  ...part,
})
const real = { protocol: 'tcp', address: ip('203.0.113.10'), port: 443, bytes: 0, connectOnly: true } as const
/** Against a real listener: no token, so no receipt. */
const listener = (part: Partial<VerdictInput>): VerdictInput =>
  input({ spec: real, receipt: null, straight: null, flow: flow(), ...part })

const cases: [string, VerdictInput, ReturnType<typeof verdict>['kind'], RegExp][] = [
  ['the same source as straight', input({}), 'preserved', /new saw 198\.18\.9\.9, the same address as straight/],
  [
    'a prober behind translation: the same foreign source both ways',
    input({ result: result('answered', { source: ip('10.0.0.7') }) }),
    ...(['preserved', /the same address as straight/] as const),
  ],
  ['no straight probe, the own source', input({ straight: null }), 'preserved', /the prober's own address/],
  [
    "the forwarder's public address",
    input({ receipt: receipt({ source: ip('203.0.113.10') }) }),
    ...(['masqueraded', /instead of 198\.18\.9\.9: a masquerade or SNAT rule on old/] as const),
  ],
  [
    "the forwarder's tunnel address",
    input({ receipt: receipt({ source: ip('10.90.0.1') }) }),
    ...(['masqueraded', /SNAT rule on old/] as const),
  ],
  [
    'a third address',
    input({ receipt: receipt({ source: ip('172.17.0.1') }) }),
    ...(['masqueraded', /none of old's addresses.*container network/] as const),
  ],
  [
    'another address, and nothing to compare with',
    input({ straight: null, receipt: receipt({ source: ip('198.18.0.1') }) }),
    ...(['masqueraded', /no telling them apart/] as const),
  ],
  [
    'arrived, unanswered',
    input({ result: result('timeout') }),
    ...(['unreachable', /arrived at new .* return path is broken.*FORWARD chain/] as const),
  ],
  [
    'arrived straight, unanswered',
    input({ result: result('timeout'), throughTunnel: false }),
    ...(['unreachable', /a route of new that leaves elsewhere/] as const),
  ],
  [
    'refused, while straight works',
    input({ result: result('refused'), receipt: null }),
    ...(['unreachable', /refused, while new answers straight: old doesn't forward/] as const),
  ],
  [
    'refused both ways',
    input({ result: result('refused'), receipt: null, straight: null }),
    ...(['unreachable', /nothing listens on new/] as const),
  ],
  [
    'refused straight',
    input({ result: result('refused'), receipt: null, straight: null, throughTunnel: false }),
    ...(['unreachable', /nothing listens on new, or a firewall there rejects/] as const),
  ],
  [
    'silence, while straight works',
    input({ result: result('timeout'), receipt: null }),
    ...(['unreachable', /the tunnel is down, or a firewall on old/] as const),
  ],
  [
    'silence both ways',
    input({ result: result('timeout'), receipt: null, straight: null }),
    ...(['unreachable', /by this way or straight: a firewall in front of the hosts/] as const),
  ],
  [
    'silence straight',
    input({ result: result('timeout'), receipt: null, straight: null, throughTunnel: false }),
    ...(['unreachable', /new is down, or a firewall drops/] as const),
  ],
  [
    'the prober could not send',
    input({ result: result('error'), receipt: null }),
    ...(['unreachable', /could not send \(so it was\)/] as const),
  ],
  ['answered by nobody we know', input({ receipt: null }), 'unreachable', /another program or host answers/],
  [
    'closed by nobody we know',
    input({ result: result('closed'), receipt: null }),
    ...(['unreachable', /another program listens there, or a proxy/] as const),
  ],
  [
    'large packets lost on the way there',
    input({ result: result('truncated', { bytes: 64 }), receipt: receipt({ bytes: 1500 }) }),
    ...(['truncated', /lost on the way to new.*ICMP/] as const),
  ],
  [
    'large packets lost on the way back',
    input({ result: result('truncated', { bytes: 68 }) }),
    ...(['truncated', /lost on the way back.*lower the tunnel's MTU/] as const),
  ],
  [
    'large packets lost, the receipt with them',
    input({ result: result('truncated', { bytes: 64 }), receipt: null }),
    ...(['truncated', /large packets are lost on the way \(/] as const),
  ],
  ['a real listener with its socket', listener({}), 'preserved', /a socket of new has the client's own address/],
  [
    'a real listener in a container',
    listener({ flow: flow({ evidence: 'conntrack' }) }),
    ...(['preserved', /connection tracking of new/] as const),
  ],
  [
    'a real listener that closes at once',
    listener({ result: result('closed') }),
    ...(['preserved', /a socket of new/] as const),
  ],
  [
    'a real listener, UDP, silent as they are',
    listener({ spec: { ...real, protocol: 'udp' }, result: result('timeout'), flow: flow({ evidence: 'conntrack' }) }),
    ...(['preserved', /connection tracking of new/] as const),
  ],
  [
    'a real listener that sees somebody else',
    listener({ flow: flow({ found: false, evidence: '', tunnel: 0, detail: 'no connection from there' }) }),
    ...([
      'masqueraded',
      /shows none from this client: no connection from there: a masquerade rule or a proxy on old/,
    ] as const),
  ],
  [
    'a real listener, not looked at',
    listener({ result: result('refused', { connectMs: 0 }), flow: null }),
    ...(['unreachable', /tcp 203\.0\.113\.10:443 refused/] as const),
  ],
  [
    'a real listener whose answers get lost',
    listener({ result: result('timeout', { connectMs: 0 }) }),
    ...(['unreachable', /the way back is broken/] as const),
  ],
  [
    'a real listener reached, but not through the tunnel',
    listener({ flow: flow({ tunnel: 0 }) }),
    ...(['unreachable', /did not come out of a tunnel/] as const),
  ],
  ['a real listener, straight', listener({ flow: flow({ tunnel: 0 }), throughTunnel: false }), 'preserved', /a socket/],
]

test.each(cases)('%s', (_, given, kind, cause) => {
  const judged = verdict(given)
  expect(judged.kind).toBe(kind)
  expect(judged.cause).toMatch(cause)
  expect(judged.cause).not.toMatch(/undefined|null|\.$/)
})

test('of several tries the one counts of which the most arrived', () => {
  const small = receipt({ protocol: 'udp', bytes: 68 })
  const large = receipt({ protocol: 'udp', bytes: 3000 })
  const other = receipt({ token: new Uint8Array(16), bytes: 8000 })
  expect(receiptOf([small, large, other, small], token)).toBe(large)
  expect(receiptOf([other], token)).toBeNull()
})
