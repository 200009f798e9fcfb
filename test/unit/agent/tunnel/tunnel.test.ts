import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { isOurDevice } from '../../../../agent/plan/own.js'
import { piecesOf } from '../../../../agent/tunnel/tunnel.js'
import type { Ip } from '../../../../proto/model/address.js'
import type { TunnelDriver, TunnelSpec } from '../../../../proto/model/host-spec.js'
import type { Name } from '../../../../proto/model/names.js'
import { parseIp } from '../../../../proto/parse.js'

const fingerprint = Array.from({ length: 32 }, (_, byte) => byte.toString(16).padStart(2, '0').toUpperCase()).join(':')
const wireguardKey = '0QzVuwyPYL39qnkmNkIhHTrQSaN8Ie+9r7NHirBl1AM='

const spec = (parts: Partial<TunnelSpec>): TunnelSpec => ({
  index: 3,
  peer: 'new' as Name,
  driver: 'openvpn',
  userspace: false,
  role: 'server',
  port: 51820,
  remote: '198.51.100.20' as Ip,
  mtu: 1400,
  local4: '10.180.4.1' as Ip,
  peer4: '10.180.4.2' as Ip,
  local6: 'fd05::1' as Ip,
  peer6: 'fd05::2' as Ip,
  peerIdentity: parts.driver === undefined || parts.driver === 'openvpn' ? fingerprint : wireguardKey,
  device: '',
  peerAddresses: [],
  probe: { port: 52820, pairs: [] },
  ...parts,
})

const ownAddresses = [
  { device: 'fm3', ip: '10.180.4.1', prefix: 30 },
  { device: 'fm3', ip: 'fd05::1', prefix: 126 },
]

describe('openvpn', () => {
  it.each([
    ['openvpn-server.txt', spec({})],
    ['openvpn-client-ipv6.txt', spec({ role: 'client', remote: '2001:db8::20' as Ip, mtu: 1414 })],
    // Below 1024 a restart could not bind the port again as another user.
    ['openvpn-low-port.txt', spec({ port: 443 })],
  ])('configures as in %s', (golden, tunnel) => {
    const [process] = piecesOf(tunnel).processes
    expect(process!.config!.content).toBe(readFileSync(join(__dirname, '../../../golden', golden), 'utf8'))
  })

  it('makes a persistent tap and one process', () => {
    expect(piecesOf(spec({}))).toMatchObject({
      device: 'fm3',
      layer: 2,
      links: [{ kind: 'tap', name: 'fm3', mac: '02:fd:0a:b4:04:01', mtu: 1400 }],
      processes: [
        {
          name: 'openvpn-fm3',
          argv: ['openvpn', '--config', '/run/fleetmove/openvpn-fm3.conf'],
          config: { path: '/run/fleetmove/openvpn-fm3.conf' },
        },
      ],
      addresses: ownAddresses,
    })
  })
})

describe('wireguard', () => {
  const tunnel = spec({ driver: 'wireguard', mtu: 1440 })

  it('lets every address through, in the kernel', () => {
    expect(piecesOf(tunnel)).toEqual({
      device: 'fm3',
      layer: 3,
      links: [
        {
          kind: 'wireguard',
          name: 'fm3',
          mtu: 1440,
          userspace: false,
          listenPort: 51820,
          peer: {
            publicKey: wireguardKey,
            endpoint: { address: '198.51.100.20', port: 51820 },
            allowedIps: ['0.0.0.0/0', '::/0'],
          },
        },
      ],
      processes: [],
      addresses: ownAddresses,
    })
  })

  it('adds the process that makes the link, in userspace', () => {
    const { links, processes } = piecesOf({ ...tunnel, userspace: true })
    expect(links).toMatchObject([{ kind: 'wireguard', userspace: true }])
    expect(processes).toMatchObject([{ name: 'wireguard-fm3', argv: ['wireguard-go', '-f', 'fm3'], config: null }])
  })
})

describe('wireguard-l2', () => {
  const tunnel = spec({ driver: 'wireguard-l2', mtu: 1370, userspace: true })

  it('puts VXLAN over a WireGuard that carries nothing else', () => {
    expect(piecesOf(tunnel)).toMatchObject({
      device: 'fm3',
      layer: 2,
      links: [
        { kind: 'wireguard', name: 'fmw3', mtu: 1440, peer: { allowedIps: ['fe80::3:2/128'] } },
        {
          kind: 'vxlan',
          name: 'fm3',
          mac: '02:fd:0a:b4:04:01',
          mtu: 1370,
          local: 'fe80::3:1',
          remote: 'fe80::3:2',
          under: 'fmw3',
        },
      ],
      processes: [{ name: 'wireguard-fmw3', argv: ['wireguard-go', '-f', 'fmw3'] }],
      addresses: [{ device: 'fmw3', ip: 'fe80::3:1', prefix: 64 }, ...ownAddresses],
    })
  })

  it('has ends that name each other, in canonical text, for every index', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 63 }), (index) => {
        const [server, client] = (['server', 'client'] as const).map((role) =>
          piecesOf({ ...tunnel, index, role }).links.find((link) => link.kind === 'vxlan'),
        )
        expect([client!.local, client!.remote, client!.vni]).toEqual([server!.remote, server!.local, server!.vni])
        expect(parseIp(server!.local)).toMatchObject({ ok: true, value: server!.local })
        expect(server!.local).not.toBe(server!.remote)
      }),
    )
  })
})

describe('direct', () => {
  it('uses a device as it is and makes nothing', () => {
    expect(piecesOf(spec({ driver: 'direct', device: 'eth1' }))).toEqual({
      device: 'eth1',
      layer: 2,
      links: [{ kind: 'existing', name: 'eth1' }],
      processes: [],
      addresses: [],
    })
  })
})

it.each<TunnelDriver>(['openvpn', 'wireguard', 'wireguard-l2'])(
  '%s makes only devices that we know as ours',
  (driver) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 63 }), fc.boolean(), (index, userspace) => {
        const { device, links, addresses } = piecesOf(spec({ driver, index, userspace }))
        const names = links.map(({ name }) => name)
        expect(names.every(isOurDevice)).toBe(true)
        expect(names).toContain(device)
        expect(addresses.every((address) => names.includes(address.device))).toBe(true)
      }),
    )
  },
)
