import { missingEntries } from '../../../../agent/flows/adopt.js'
import type { ConntrackEntry, Tuple } from '../../../../agent/kernel/conntrack.js'
import type { StatefulSocket } from '../../../../agent/kernel/sock-diag.js'
import { intoTunnel } from '../../../../agent/plan/own.js'
import { ip } from '../plan/specs.js'

const own = ip('198.51.100.20')
const client = ip('198.18.0.11')
const there: Tuple = { source: client, sourcePort: 4000, destination: own, destinationPort: 80 }
const back: Tuple = { source: own, sourcePort: 80, destination: client, destinationPort: 4000 }
const entry = (original: Tuple, reply: Tuple, change: Partial<ConntrackEntry> = {}): ConntrackEntry => ({
  ...{ family: 4, id: 1, protocol: 'tcp', original, reply, mark: 0, status: 0, tcpState: 'established' },
  ...{ timeout: 300, zone: 0, counters: null, bytes: null, times: null },
  ...change,
})
const socket = (change: Partial<StatefulSocket> = {}): StatefulSocket => ({
  ...{ id: { family: 2, bytes: Buffer.alloc(48) }, local: own, localPort: 80, remote: client, remotePort: 4000 },
  state: 'established',
  ...change,
})
const look = (sockets: StatefulSocket[], entries: ConntrackEntry[]) =>
  missingEntries(sockets, entries, new Set([80]), new Set([own]))

test('a connection without an entry gets one, by the state of its socket', () => {
  const { missing, ended } = look([socket(), socket({ remotePort: 4001, state: 'time-wait' })], [])
  expect(ended).toEqual([])
  expect(missing).toMatchObject([
    { wanted: { original: there, reply: back, tcpState: 'established' }, reversed: undefined },
    { wanted: { original: { ...there, sourcePort: 4001 }, tcpState: 'time-wait' } },
  ])
})

test('one the right way round is let be, also where its address or port was translated', () => {
  const public4 = ip('203.0.113.99')
  expect(look([socket()], [entry(there, back)]).missing).toEqual([])
  expect(look([socket()], [entry({ ...there, destination: public4, destinationPort: 8080 }, back)]).missing).toEqual([])
  expect(look([socket()], [entry({ ...there, sourcePort: 9 }, back)]).missing).toEqual([])
})

test('one the wrong way round is turned, with its state and its time', () => {
  const reversed = entry(back, there, { tcpState: 'close-wait', timeout: 17, mark: 5 })
  expect(look([socket()], [reversed]).missing).toMatchObject([
    { reversed, wanted: { original: there, reply: back, tcpState: 'close-wait', timeout: 17, mark: 5 } },
  ])
})

test('one the wrong way round whose socket is gone is forgotten', () => {
  const reversed = entry(back, there, { tcpState: 'time-wait' })
  expect(look([], [reversed])).toEqual({ missing: [], ended: [reversed] })
})

test('what this host opens itself, what goes into a tunnel and what it has with itself are none of these', () => {
  const opened = entry({ ...back, sourcePort: 50_000 }, { ...there, destinationPort: 50_000 })
  const steered = entry(back, there, { mark: intoTunnel(1) })
  const masked = entry({ ...back, source: ip('172.18.0.2') }, there)
  expect(look([], [opened, steered, masked])).toEqual({ missing: [], ended: [] })
  expect(look([socket({ remote: own })], [entry({ ...back, destination: own }, { ...there, source: own })])).toEqual({
    missing: [],
    ended: [],
  })
})
