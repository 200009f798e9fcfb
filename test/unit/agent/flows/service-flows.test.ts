import { countDrain } from '../../../../agent/flows/drain.js'
import { routeOf, routeOfSocket, wayOf } from '../../../../agent/flows/service-flows.js'
import type { ConntrackEntry } from '../../../../agent/kernel/conntrack.js'
import type { TcpSocket } from '../../../../agent/kernel/sock-diag.js'
import { fromTunnel, intoTunnel } from '../../../../agent/plan/own.js'
import type { Ip } from '../../../../proto/model/address.js'
import type { ServiceRoute, ServiceSpec } from '../../../../proto/model/host-spec.js'
import type { Name } from '../../../../proto/model/names.js'

const ip = (text: string): Ip => text as Ip
const own = ip('203.0.113.10')
const client = ip('198.18.9.9')
const service = (...routes: ServiceRoute[]): ServiceSpec => ({
  ...{ name: 'web' as Name, stage: 'moving', from: 'old' as Name, to: 'new' as Name, active: 'new' as Name },
  canary: null,
  routes,
})
const route = (part: Partial<ServiceRoute> = {}): ServiceRoute => ({
  ...{ protocol: 'tcp', address: own, ports: { from: 443, to: 443 }, action: { kind: 'serve', port: 0 } },
  ...part,
})
const moved = route({ action: { kind: 'serve', port: 8443 } })

function entry(
  port: number,
  mark: number,
  sourcePort = 4000,
  server = { source: own, sourcePort: port },
): ConntrackEntry {
  return {
    ...{
      family: 4,
      id: 1,
      protocol: 'tcp',
      mark,
      status: 0,
      tcpState: 'established',
      timeout: 60,
      zone: 0,
      counters: null,
      bytes: null,
      times: null,
    },
    original: { source: client, sourcePort, destination: own, destinationPort: port },
    reply: { ...server, destination: client, destinationPort: sourcePort },
  }
}
const socket = (localPort: number, remotePort: number): TcpSocket => ({
  id: { family: 2, bytes: Buffer.alloc(48) },
  local: own,
  localPort,
  remote: client,
  remotePort,
})

test.each([
  [0, 'direct', 0],
  // Other people's bits of the mark say nothing.
  [0x00ff0f00, 'direct', 0],
  [fromTunnel(1), 'from', 1],
  [intoTunnel(1) | 0x4000, 'into', 1],
  [fromTunnel(63), 'from', 63],
  [intoTunnel(63), 'into', 63],
])('mark %p: %s tunnel %p', (mark, way, tunnel) => {
  expect(wayOf(mark)).toEqual({ way, tunnel })
})

test('a listener is found by protocol, address and any port of its range', () => {
  const range = route({ ports: { from: 30_000, to: 30_100 } })
  const spec = service(range)
  for (const port of [30_000, 30_050, 30_100]) expect(routeOf(spec, entry(port, 0))).toBe(range)
  for (const port of [29_999, 30_101]) expect(routeOf(spec, entry(port, 0))).toBeUndefined()
  expect(routeOf(service(route({ protocol: 'udp' })), entry(443, 0))).toBeUndefined()
  expect(routeOf(service(route({ address: ip('203.0.113.11') })), entry(443, 0))).toBeUndefined()
})

test("the process's own port belongs to the service where it came out of a tunnel, and for sockets", () => {
  expect(routeOf(service(moved), entry(8443, fromTunnel(1)))).toBe(moved)
  // Somebody who connects to that port straight is no client of the service.
  expect(routeOf(service(moved), entry(8443, 0))).toBeUndefined()
  expect(routeOfSocket(service(moved), socket(8443, 1))).toBe(moved)
  expect(routeOfSocket(service(moved), socket(443, 1))).toBeUndefined()
})

test('who is connected by another port is still known while new clients wait', () => {
  const ready = {
    dispatched: { kind: 'serve', port: 8443 },
    standby: { kind: 'forward', tunnel: 1, to: client, port: 0 },
  } as const
  const paused = service(route({ action: { kind: 'pause' }, ready }))
  expect(routeOf(paused, entry(8443, fromTunnel(1)))).toBeDefined()
  expect(routeOfSocket(paused, socket(8443, 1))).toBeDefined()
  expect(routeOfSocket(paused, socket(443, 1))).toBeUndefined()
})

test('each connection counts once, as forwarded or answered', () => {
  const entries = [
    entry(443, intoTunnel(1), 1, { source: ip('198.51.100.20'), sourcePort: 443 }),
    entry(443, 0, 2, { source: own, sourcePort: 8443 }),
    entry(8443, fromTunnel(1), 3),
  ]
  // 2 and 3 are tracked, 4 isn't; 5 is another program's.
  const sockets = [socket(8443, 2), socket(8443, 3), socket(8443, 4), socket(22, 5)]
  const { standing, ...counted } = countDrain(service(moved), entries, sockets)
  expect(standing).toHaveLength(3)
  expect(counted).toEqual({
    ...{ forwarded: 1, answered: 3, answeredFromTunnel: 1 },
    clients: [{ client, connections: 3 }],
  })
})

test('the clients with the most connections come first, twenty of them', () => {
  const entries = Array.from({ length: 30 }, (_, i) => i).flatMap((i) =>
    Array.from({ length: i + 1 }, () => {
      const made = entry(443, 0)
      return { ...made, original: { ...made.original, source: ip(`198.18.1.${i}`) } }
    }),
  )
  // All from one port, so one socket stands for them.
  const { clients } = countDrain(service(route()), entries, [socket(443, entries[0]!.reply.destinationPort)])
  expect(clients).toHaveLength(20)
  expect(clients[0]).toEqual({ client: '198.18.1.29', connections: 30 })
  expect(clients[19]).toEqual({ client: '198.18.1.10', connections: 11 })
})

test('an entry that no socket has is waited for only where its socket is not here', () => {
  const here = entry(443, 0, 1)
  const inContainer = entry(443, 0, 2, { source: ip('172.17.0.2'), sourcePort: 8080 })
  expect(countDrain(service(route()), [here, inContainer], [])).toMatchObject({ answered: 1 })
  expect(countDrain(service(route()), [here, inContainer], [socket(443, 1)])).toMatchObject({ answered: 2 })
})
