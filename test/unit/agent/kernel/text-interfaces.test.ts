import { bytesToIp, ipToBytes } from '../../../../agent/kernel/ip-bytes.js'
import { explainNft } from '../../../../agent/kernel/nft.js'
import { sysctlPath } from '../../../../agent/kernel/sysctl.js'
import { parseWireguardDump } from '../../../../agent/kernel/wireguard.js'
import type { Ip } from '../../../../proto/model/address.js'

describe('sysctlPath', () => {
  test.each([
    ['net.ipv4.ip_forward', '/proc/sys/net/ipv4/ip_forward'],
    ['net.ipv4.conf.all.rp_filter', '/proc/sys/net/ipv4/conf/all/rp_filter'],
    ['net.ipv4.conf.eth0.200.rp_filter', '/proc/sys/net/ipv4/conf/eth0.200/rp_filter'],
    ['net.ipv6.conf.a..b.accept_ra', '/proc/sys/net/ipv6/conf/a..b/accept_ra'],
    ['net.ipv4.neigh.br.0.1.proxy_qlen', '/proc/sys/net/ipv4/neigh/br.0.1/proxy_qlen'],
    ['net.netfilter.nf_conntrack_max', '/proc/sys/net/netfilter/nf_conntrack_max'],
  ])('%s', (key, path) => expect(sysctlPath(key)).toBe(path))

  test.each(['net.ipv4.conf./../../x.y', 'net.ipv4.conf....rp_filter', 'a//b', 'net..x', '', '../etc/passwd'])(
    'refuses "%s"',
    (key) => expect(() => sysctlPath(key)).toThrow('is not the name of a kernel parameter'),
  )
})

describe('explainNft', () => {
  const ruleset = 'add table inet fleetmove\n  add rule inet fleetmove x accept\n'

  test('quotes the line that nft names', () => {
    const stderr = [
      '/run/fleetmove/ruleset-1-1.nft:2:26-26: Error: No such file or directory',
      '  add rule inet fleetmove x accept',
      '                         ^',
    ].join('\n')
    expect(explainNft(stderr, ruleset)).toBe('No such file or directory in line 2: "add rule inet fleetmove x accept"')
  })

  test('keeps what names no line', () => {
    expect(explainNft('Error: cannot open file\n', ruleset)).toBe('Error: cannot open file')
    expect(explainNft('netlink: something odd\n', ruleset)).toBe('netlink: something odd')
  })

  test('stops after three', () => {
    const stderr = [1, 1, 1, 1].map((line) => `f:${line}:1-3: Error: bad`).join('\n')
    expect(explainNft(stderr, ruleset).split('; ')).toHaveLength(3)
  })
})

test('parseWireguardDump reads devices without and with peers, never keys', () => {
  const dump = [
    'fmw1\t(none)\t(none)\t48116\toff',
    'fm2\tprivate\tpublic\t51820\t0x10',
    'fm2\tpeer-a\t(none)\t[2001:db8::1]:51820\t0.0.0.0/0,::/0\t1700000000\t12\t34\toff',
    'fm2\tpeer-b\tpreshared\t(none)\t(none)\t0\t0\t0\t25',
    '',
  ].join('\n')
  expect(parseWireguardDump(dump)).toEqual([
    { name: 'fmw1', listenPort: 48116, peers: [] },
    {
      name: 'fm2',
      listenPort: 51820,
      peers: [
        { publicKey: 'peer-a', endpoint: '[2001:db8::1]:51820', allowedIps: ['0.0.0.0/0', '::/0'] },
        { publicKey: 'peer-b', endpoint: null, allowedIps: [] },
      ],
    },
  ])
  expect(parseWireguardDump('')).toEqual([])
})

test.each([
  ['203.0.113.9', 'cb007109'],
  ['2001:db8::1', '20010db8000000000000000000000001'],
  ['fe80::1:2', 'fe800000000000000000000000010002'],
  ['::', '0'.repeat(32)],
])('%s as bytes and back', (address, hex) => {
  expect(ipToBytes(address as Ip).toString('hex')).toBe(hex)
  expect(bytesToIp(Buffer.from(hex, 'hex'))).toBe(address)
})
