/** What the connection log must say of a connection of which all is known. */
import type { LoggedConnection } from './connection-log.js'
import type { KnownConnection, Outcome } from './known-load.js'

/** All that is known to the byte is so, and the rest within its bounds. */
export function expectLine(
  line: LoggedConnection,
  plan: KnownConnection,
  outcome: Outcome,
  expected: Pick<LoggedConnection, 'service' | 'forwarded'>,
): void {
  expect(line).toMatchObject({
    ...expected,
    ...{ protocol: plan.protocol, address: plan.address, port: plan.port },
    ...{ client: outcome.client, clientPort: plan.from },
  })
  // As the server itself saw it.
  if (plan.kind === 'echo') expect(outcome.seen).toBe(`${line.client} ${line.clientPort}`)
  const [start, end] = [Date.parse(line.start ?? ''), Date.parse(line.end)]
  expect(start).toBeGreaterThanOrEqual(outcome.begun - 10)
  expect(start).toBeLessThanOrEqual(outcome.ended)
  expect(end).toBeGreaterThanOrEqual(start)
  // The last words of a connection come after its client has turned away.
  expect(end).toBeLessThanOrEqual(outcome.ended + 2000)
  const headers = plan.address.includes(':') ? 48 : 28
  if (plan.protocol === 'udp') {
    expect(line.received).toBe(outcome.sent * (plan.bytes + headers))
    expect(line.sent).toBeGreaterThanOrEqual(outcome.heard + headers)
    expect(line.sent).toBeLessThanOrEqual(outcome.sent * (outcome.heard + headers))
    return
  }
  for (const [counted, payload, other] of [
    [line.received, outcome.sent, outcome.heard],
    [line.sent, outcome.heard, outcome.sent],
  ] as const) {
    expect(counted).toBeGreaterThan(payload)
    // Headers, acknowledgements of the other side's segments, and what a busy machine sends again.
    expect(counted).toBeLessThan(2 * payload + 0.2 * other + 3000)
  }
}
