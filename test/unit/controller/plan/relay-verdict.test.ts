import { relayVerdict } from '../../../../controller/plan/relay-verdict.js'
import type { Verdict } from '../../../../controller/plan/verdict.js'
import type { Ip } from '../../../../proto/model/address.js'
import type { RelayOutcome, RelayResult } from '../../../../proto/model/relay.js'

const said = (outcome: RelayOutcome, source = '198.51.100.7'): RelayResult => ({
  outcome,
  source: source as Ip,
  sourcePort: 40_000,
  detail: `the server ${outcome}`,
})
const seen: Verdict = { kind: 'preserved', cause: 'a socket has the peer 198.51.100.7' }
const hidden: Verdict = { kind: 'masqueraded', cause: 'it saw the forwarder' }

const judge = (forwarded: RelayResult, straight: RelayResult | null, flow = seen) =>
  relayVerdict({ forwarded, straight, flow, forwarder: 'new1', origin: 'old1' })

test('refused to the client’s own address: proved, with both findings', () => {
  expect(judge(said('refused'), null)).toEqual({
    kind: 'preserved',
    cause: 'the server refused; a socket has the peer 198.51.100.7',
  })
})

test('refused to another address than the client’s: that is the failure', () => {
  expect(judge(said('refused'), null, hidden)).toEqual(hidden)
})

test('accepted by the forwarder’s address alone: an open relay, whatever the flow looks like', () => {
  for (const flow of [seen, hidden]) {
    const { kind, cause } = judge(said('accepted'), said('refused'), flow)
    expect(kind).toBe('open-relay')
    expect(cause).toContain(flow.cause)
  }
  expect(judge(said('accepted'), said('unclear')).kind).toBe('open-relay')
})

test('accepted straight as well: nothing that forwarding has done', () => {
  expect(judge(said('accepted'), said('accepted')).kind).toBe('untested')
})

test('no answer, or no connection, says nothing', () => {
  expect(judge(said('unclear'), null)).toEqual({
    kind: 'untested',
    cause: 'whether it relays is not known: the server unclear',
  })
  expect(judge(said('unclear', ''), null).kind).toBe('untested')
})
