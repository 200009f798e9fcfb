import { isMisled } from '../../../../agent/flows/forget.js'
import type { ConntrackEntry } from '../../../../agent/kernel/conntrack.js'
import { fromTunnel, intoTunnel } from '../../../../agent/plan/own.js'
import type { Ip } from '../../../../proto/model/address.js'
import type { ServiceRoute, ServiceSpec } from '../../../../proto/model/host-spec.js'
import type { Name } from '../../../../proto/model/names.js'

const own = '203.0.113.10' as Ip
const client = '198.18.9.9' as Ip

const service = (action: ServiceRoute['action']): ServiceSpec => ({
  ...{ name: 'web' as Name, stage: 'moving', from: 'old' as Name, to: 'new' as Name, active: 'new' as Name },
  canary: null,
  routes: [{ protocol: 'tcp', address: own, ports: { from: 443, to: 443 }, action }],
})
const opening = (mark: number, part: Partial<ConntrackEntry> = {}): ConntrackEntry => ({
  ...{ family: 4, id: 1, protocol: 'tcp', mark, status: 0, tcpState: 'syn-sent', timeout: 60, zone: 0 },
  ...{ counters: null, bytes: null, times: null },
  original: { source: client, sourcePort: 4000, destination: own, destinationPort: 443 },
  reply: { source: own, sourcePort: 443, destination: client, destinationPort: 4000 },
  ...part,
})
const ways = { direct: 0, from: fromTunnel(1), into: intoTunnel(1) }
const forward = { kind: 'forward' as const, tunnel: 1, to: '198.51.100.20' as Ip, port: 0 }
const serve = { kind: 'serve' as const, port: 0 }
const misled = (action: ServiceRoute['action']): string[] =>
  Object.entries(ways)
    .filter(([, mark]) => isMisled(service(action), opening(mark)))
    .map(([way]) => way)

test('an opening that goes another way than the rules do now is forgotten', () => {
  expect(misled(forward)).toEqual(['direct', 'from'])
  expect(misled(serve)).toEqual(['into'])
  expect(misled({ kind: 'pause' })).toEqual(['direct', 'from', 'into'])
  expect(misled({ kind: 'split', forward, serve })).toEqual([])
})

test('what our own redirect answers goes the right way, and the program that was there before does not', () => {
  const redirecting = { ...service({ kind: 'redirect' }), redirect: { port: 53820, to: 'https://new.example' } }
  expect(isMisled(redirecting, opening(0))).toBe(true)
  expect(isMisled(redirecting, opening(0, { reply: { ...opening(0).reply, sourcePort: 53820 } }))).toBe(false)
})

test("what is answered, or not the service's, is left", () => {
  for (const tcpState of ['syn-received', 'established', 'time-wait'] as const)
    expect(isMisled(service(serve), opening(ways.into, { tcpState }))).toBe(false)
  const elsewhere = { ...opening(0).original, destinationPort: 80 }
  expect(isMisled(service(serve), opening(ways.into, { original: elsewhere }))).toBe(false)
})
