import { chooseTunnel, overhead, type TunnelFacts, tunnelMtu } from '../../../../controller/plan/choose-tunnel.js'

const all: TunnelFacts = {
  kernelWireguard: true,
  wireguardGo: true,
  wg: true,
  openvpn: '2.6.14',
  tun: true,
  vxlan: true,
}
const ends = (a: Partial<TunnelFacts>, b: Partial<TunnelFacts> = a) =>
  [
    { host: 'old', facts: { ...all, ...a } },
    { host: 'new', facts: { ...all, ...b } },
  ] as const

describe('auto', () => {
  it('takes WireGuard in both kernels', () => {
    expect(chooseTunnel('auto', ...ends({}))).toEqual({
      ok: true,
      driver: 'wireguard',
      userspace: { a: false, b: false },
      reason: 'WireGuard, the fastest, in both kernels',
    })
  })

  it('mixes the kernel and a process, and says where', () => {
    expect(chooseTunnel('auto', ...ends({ kernelWireguard: false }, {}))).toEqual({
      ok: true,
      driver: 'wireguard',
      userspace: { a: true, b: false },
      reason: 'WireGuard, at least as fast as OpenVPN, as a process (wireguard-go) on old, whose kernel lacks it',
    })
  })

  it('needs no tun device nor wireguard-go where the kernel has WireGuard', () => {
    expect(
      chooseTunnel('auto', ...ends({ wireguardGo: false, tun: false, openvpn: null, vxlan: false })),
    ).toMatchObject({
      driver: 'wireguard',
    })
  })

  it.each<[string, Partial<TunnelFacts>]>([
    ["old has no 'wg' program", { wg: false }],
    ['old has WireGuard neither in the kernel nor as a program', { kernelWireguard: false, wireguardGo: false }],
  ])('takes OpenVPN and says that %s', (why, lack) => {
    expect(chooseTunnel('auto', ...ends(lack, {}))).toEqual({
      ok: true,
      driver: 'openvpn',
      userspace: { a: false, b: false },
      reason: `OpenVPN, since WireGuard isn't there on both hosts: ${why}`,
    })
  })

  it('names every obstacle of both drivers where neither works', () => {
    const choice = chooseTunnel('auto', ...ends({ wg: false }, { openvpn: '2.5.1' }))
    expect(choice).toMatchObject({
      ok: false,
      problems: [
        { host: 'old', driver: 'wireguard', hint: expect.stringContaining('apt install wireguard-tools') },
        { host: 'new', driver: 'openvpn', message: expect.stringContaining('2.5.1') },
      ],
    })
  })
})

describe('a driver that was asked for', () => {
  it.each(['2.6.0', '2.7_rc1', '3.0', '10.1.2'])('OpenVPN %s is taken', (openvpn) => {
    expect(chooseTunnel('openvpn', ...ends({ openvpn }))).toMatchObject({ ok: true, driver: 'openvpn' })
  })

  it.each(['2.5.9', '2.4', '1.9', '', 'unknown'])('OpenVPN "%s" is refused on both hosts', (openvpn) => {
    expect(chooseTunnel('openvpn', ...ends({ openvpn }))).toMatchObject({
      ok: false,
      problems: [{ host: 'old' }, { host: 'new' }],
    })
  })

  it.each<['openvpn' | 'wireguard' | 'wireguard-l2', Partial<TunnelFacts>, string]>([
    ['openvpn', { tun: false }, '/dev/net/tun'],
    ['wireguard', { kernelWireguard: false, tun: false }, '/dev/net/tun'],
    ['wireguard-l2', { vxlan: false }, 'VXLAN'],
    ['wireguard-l2', { wg: false }, "'wg'"],
  ])('%s is refused for %j', (driver, lack, word) => {
    const choice = chooseTunnel(driver, ...ends({}, lack))
    expect(choice).toMatchObject({ ok: false, problems: [{ host: 'new', message: expect.stringContaining(word) }] })
  })

  it('is not replaced by a faster one', () => {
    expect(chooseTunnel('wireguard-l2', ...ends({}))).toMatchObject({ ok: true, driver: 'wireguard-l2' })
    expect(chooseTunnel('direct', ...ends({ wg: false, openvpn: null }))).toMatchObject({ ok: true, driver: 'direct' })
  })
})

describe('the MTU of a tunnel', () => {
  // Each to the byte as test/kernel/tunnel.test.ts finds it on the wire.
  it.each([
    ['wireguard', 4, 1440],
    ['wireguard', 6, 1420],
    ['wireguard-l2', 4, 1370],
    ['wireguard-l2', 6, 1350],
    ['openvpn', 4, 1434],
    ['openvpn', 6, 1414],
    ['direct', 4, 1500],
  ] as const)('of %s over IPv%i on a path of 1500 is %i', (driver, outer, mtu) => {
    expect(tunnelMtu(1500, driver, outer, false)).toBe(mtu)
    expect(1500 - overhead(driver, outer)).toBe(mtu)
  })

  it('stays at 1280 over IPv4, in fragments, where they are sent without DF', () => {
    expect(tunnelMtu(1296, 'wireguard', 4, false)).toBe(1280)
    expect(tunnelMtu(1296, 'openvpn', 4, false)).toBe(1280)
  })

  it.each([
    ['wireguard', 4, true, 1296, '1340', 'openvpn'],
    ['wireguard', 6, false, 1350, '1360', 'IPv4'],
    ['openvpn', 6, false, 1350, '1366', 'IPv4'],
    ['wireguard-l2', 4, true, 1400, '1410', 'wireguard'],
  ] as const)(
    '%s over IPv%i (process: %s) is refused on a path of %i',
    (driver, outer, userspace, path, needed, way) => {
      expect(() => tunnelMtu(path, driver, outer, userspace)).toThrow(
        expect.objectContaining({
          code: 'preflight',
          message: expect.stringMatching(new RegExp(`${path} .*needs ${needed}`)),
          hint: expect.stringContaining(way),
        }),
      )
    },
  )
})
