import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  connectionLine,
  listenerFinder,
  loggedListeners,
  timeoutName,
} from '../../../agent/connections/connection-line.js'
import { ListenersFile, removeListeners, writeListeners } from '../../../agent/connections/listeners-file.js'
import { LogFile } from '../../../agent/connections/log-file.js'
import type { ConntrackEntry } from '../../../agent/kernel/conntrack.js'
import { exposition } from '../../../agent/metrics/exposition.js'
import { MetricsPublisher } from '../../../agent/metrics/publish.js'
import { fromTunnel, intoTunnel } from '../../../agent/plan/own.js'
import { desiredSysctls } from '../../../agent/plan/sysctls.js'
import { decodeHostSpec, encodeHostSpec } from '../../../proto/codec.js'
import type { HostSpec } from '../../../proto/model/host-spec.js'
import { forward, ip, new4, old4, serve, service, spec, tunnel } from './plan/specs.js'

const stop = Date.parse('2026-11-21T12:02:00Z')
const timeouts = { tcp_timeout_time_wait: 120, udp_timeout: 30, udp_timeout_stream: 120 }
const find = listenerFinder(
  loggedListeners(
    spec(
      [tunnel(1)],
      [service('web', [serve(['tcp', 443], new4)]), service('turn', [serve(['udp', [30000, 30100]], new4)])],
    ),
  ),
)

const entry = (more: Partial<ConntrackEntry> = {}): ConntrackEntry => ({
  family: 4,
  id: 1,
  protocol: 'tcp',
  original: { source: ip('192.0.2.9'), sourcePort: 40000, destination: new4, destinationPort: 443 },
  reply: { source: new4, sourcePort: 443, destination: ip('192.0.2.9'), destinationPort: 40000 },
  mark: 0,
  status: 0xe,
  tcpState: 'time-wait',
  timeout: 0,
  zone: 0,
  counters: { packets: 12, bytes: 4200 },
  bytes: { original: 1200, reply: 3000 },
  times: { start: stop - 180_000, stop },
  ...more,
})

const line = (more: Partial<ConntrackEntry> = {}) => connectionLine(entry(more), find, timeouts, stop)

describe('a line of the connection log', () => {
  test('tells when the last packet came, and not when the kernel forgot', () => {
    expect(line()).toEqual({
      start: '2026-11-21T11:59:00.000Z',
      end: '2026-11-21T12:00:00.000Z',
      service: 'web',
      protocol: 'tcp',
      client: '192.0.2.9',
      clientPort: 40000,
      address: new4,
      port: 443,
      forwarded: false,
      received: 1200,
      sent: 3000,
    })
  })
  test('of one that was ended by us before its time', () =>
    expect(line({ timeout: 100 })?.end).toBe('2026-11-21T12:01:40.000Z'))
  test('never ends before it began', () =>
    expect(line({ times: { start: stop - 5000, stop } })?.end).toBe('2026-11-21T12:01:55.000Z'))
  test('of one that began before the log did', () =>
    expect(line({ times: null, bytes: null })).toMatchObject({ start: null, received: null, sent: null }))
  test('what goes into a tunnel is forwarded; what came out of one is the other host’s', () => {
    expect(line({ mark: intoTunnel(1) })).toMatchObject({ forwarded: true })
    expect(line({ mark: fromTunnel(1) })).toBeNull()
  })
  test('nothing of what nobody answered, and of other ports', () => {
    expect(line({ status: 0x8 })).toBeNull()
    expect(line({ original: { ...entry().original, destinationPort: 22 } })).toBeNull()
    expect(line({ original: { ...entry().original, destination: old4 } })).toBeNull()
  })
  test('ranges', () =>
    expect(
      line({ protocol: 'udp', tcpState: null, original: { ...entry().original, destinationPort: 30100 } }),
    ).toMatchObject({ service: 'turn' }))
  test.each([
    [{}, 'tcp_timeout_time_wait'],
    [{ tcpState: 'syn-received' }, 'tcp_timeout_syn_recv'],
    [{ tcpState: 'close' }, 'tcp_timeout_close'],
    [{ protocol: 'udp', tcpState: null, status: 0x2 }, 'udp_timeout'],
    [{ protocol: 'udp', tcpState: null, status: 0x6 }, 'udp_timeout_stream'],
  ] as const)('how long %p is kept', (more, name) => expect(timeoutName(entry(more))).toBe(name))
})

describe('files', () => {
  let directory = ''
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'fleetmove-log-'))
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))

  test('the log is bounded in size and in rate, and says what it left out', () => {
    let now = 0
    const path = join(directory, 'connections.jsonl')
    const file = new LogFile(path, { bytes: 1000, perSecond: 10, burst: 20 }, () => now)
    for (let i = 0; i < 50; i++) file.add({ i })
    file.flush()
    const first = readFileSync(path, 'utf8').trim().split('\n')
    expect(first).toHaveLength(21)
    expect(JSON.parse(first[20]!)).toMatchObject({ leftOut: 30 })
    for (let second = 0; second < 100; second++) {
      now += 1000
      for (let i = 0; i < 10; i++) file.add({ second, i })
      file.flush()
    }
    expect(statSync(path).size).toBeLessThanOrEqual(1000)
    expect(statSync(`${path}.1`).size).toBeLessThanOrEqual(1000)
    expect(readFileSync(path, 'utf8')).toContain('{"second":99,"i":9}')
  })

  test('the process that writes hears of other listeners without a new start, of thousands too', () => {
    const path = join(directory, 'connections.json')
    const listeners = (count: number) =>
      Array.from({ length: count }, (_, i) => ({
        ...{ service: `site-${i}`, protocol: 'tcp' as const, address: new4, from: 1000 + i, to: 1000 + i },
      }))
    writeListeners(path, listeners(1))
    const file = new ListenersFile(path)
    file.refresh()
    expect([file.find('tcp', new4, 1000), file.find('tcp', new4, 4999)]).toEqual(['site-0', undefined])
    writeListeners(path, listeners(4000))
    file.refresh()
    expect([file.find('tcp', new4, 1000), file.find('tcp', new4, 4999)]).toEqual(['site-0', 'site-3999'])
    expect(statSync(path).mode & 0o777).toBe(0o600)
    removeListeners(path)
    file.refresh()
    expect(file.find('tcp', new4, 4999)).toBe('site-3999')
    removeListeners(path)
    expect(() => new ListenersFile(path)).toThrow('ENOENT')
  })

  const asking = (metrics: string): HostSpec => ({ ...spec([tunnel(1)], []), log: { metrics } })

  test('the text file is written whole, and goes with the wish for it; a foreign one is left alone', async () => {
    const publisher = new MetricsPublisher(async () => 'fleetmove_x 1\n')
    const path = join(directory, 'a.prom')
    await publisher.follow(asking(path))
    expect(readFileSync(path, 'utf8')).toMatch(/^# Written by fleetmove.*\nfleetmove_x 1\n$/)
    await publisher.follow(null)
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined()
    const foreign = join(directory, 'b.prom')
    writeFileSync(foreign, 'node_load1 3\n')
    await publisher.follow(asking(foreign))
    expect(publisher.problem).toContain("is not fleetmove's")
    await publisher.follow(null)
    expect(readFileSync(foreign, 'utf8')).toBe('node_load1 3\n')
    await publisher.follow(asking(join(directory, 'nowhere', 'c.prom')))
    expect(publisher.problem).toContain('ENOENT')
    publisher.close()
  })

  test('a unix socket answers whoever asks', async () => {
    const publisher = new MetricsPublisher(async () => 'fleetmove_x 1\n')
    const path = join(directory, 'm.sock')
    await publisher.follow(asking(`unix:${path}`))
    const text = await new Promise<string>((resolve, reject) => {
      request({ socketPath: path, path: '/metrics' }, (response) => {
        let body = ''
        response.on('data', (part) => {
          body += part
        })
        response.on('end', () => resolve(body))
      })
        .on('error', reject)
        .end()
    })
    expect(text).toBe('fleetmove_x 1\n')
    await publisher.follow(null)
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined()
  })
})

test('the text for Prometheus', () => {
  const web = {
    name: 'web',
    stage: 'moved',
    active: 'new',
    forwarded: 7,
    served: 2,
    establishedForwarded: 3,
    standing: 0,
  }
  const text = exposition({
    fleet: 'spring',
    host: 'old',
    services: [web],
    tunnels: [{ peer: 'new', up: false, rttMs: 0, rxBytes: 10, txBytes: 20 }],
  })
  expect(text).toContain(
    '# TYPE fleetmove_connections_total counter\nfleetmove_connections_total{fleet="spring",host="old",service="web",way="forwarded"} 7\n',
  )
  expect(text).toContain('fleetmove_service_stage{fleet="spring",host="old",service="web",stage="moved"} 1\n')
  expect(text).toContain('fleetmove_tunnel_up{fleet="spring",host="old",peer="new"} 0\n')
  expect(text).not.toContain('round_trip')
  for (const each of text.trim().split('\n'))
    expect(each).toMatch(/^(# (HELP|TYPE) fleetmove_\w+ .+|fleetmove_\w+\{(\w+="[a-z0-9-]+",?)+\} [0-9.]+)$/)
})

describe('the wish for a log', () => {
  const host = spec([tunnel(1)], [service('web', [forward(['tcp', 443], { local: new4, peer: old4 })])])
  const logging: HostSpec = { ...host, log: { connections: true, metrics: '/srv/x.prom' } }
  const settings = { observed: { links: [], sysctls: {} } as never, found: {}, uplinks: [], tunnelDevices: [] }

  test('goes over the wire, and its absence stays an absence', () => {
    expect(decodeHostSpec(encodeHostSpec(logging))).toStrictEqual(logging)
    expect(decodeHostSpec(encodeHostSpec(host))).toStrictEqual(host)
  })
  test.each(['/etc/passwd', '/srv/../etc/x.prom', 'x.prom', 'unix:/srv/x.prom', '/srv/a b.prom', '/.x.prom'])(
    'no figures in %s',
    (metrics) => expect(() => decodeHostSpec(encodeHostSpec({ ...host, log: { metrics } }))).toThrow(/metrics/),
  )
  test('bytes and times are counted only while somebody wants them', () => {
    const keys = (each: HostSpec): string[] =>
      Object.keys(desiredSysctls({ spec: each, ...settings })).filter((key) => key.includes('conntrack'))
    expect(keys(logging)).toEqual(['net.netfilter.nf_conntrack_acct', 'net.netfilter.nf_conntrack_timestamp'])
    expect(keys({ ...logging, services: [] })).toEqual([])
    expect(keys(host)).toEqual([])
  })
})
