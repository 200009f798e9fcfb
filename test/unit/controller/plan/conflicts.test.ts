import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseFacts } from '../../../../controller/bootstrap/parse-facts.js'
import { conflicts } from '../../../../controller/plan/conflicts.js'
import type { Ip } from '../../../../proto/model/address.js'

const clean = readFileSync(join(__dirname, '../bootstrap/facts/debian-12-root.txt'), 'utf8')
const addresses = ['203.0.113.10', '2001:db8:a::10'] as Ip[]
const judge = (lines: string[] = []): string[] => {
  const facts = parseFacts(`${lines.join('\n')}\n${clean}`)!
  return conflicts({ host: 'old', facts, port: 51820, tunnels: 1, addresses }).map(
    ({ message, hint }) => `${message} | ${hint}`,
  )
}

it('finds nothing on a clean host, nor in what others use apart from us', () => {
  expect(judge()).toEqual([])
  expect(
    judge([
      'rule4\t0:\tfrom all lookup local',
      'rule4\t5210:\tfrom all fwmark 0x80000/0xff0000 lookup main',
      'rule6\t32766:\tfrom all lookup main',
      'listener\ttcp   LISTEN 0      128          0.0.0.0:51820      0.0.0.0:*    users:(("sshd",pid=7,fd=3))',
      'nft.rule\t\tmeta mark & 0x00ff0000 == 0x00040000 accept',
      'iptables\t-A ts-forward -i tailscale0 -j MARK --set-xmark 0x40000/0xff0000',
      'nft.table\ttable inet filter',
    ]),
  ).toEqual([])
})

it.each([
  ['rule4\t5180:\tfrom 10.0.0.0/8 lookup 100', 'the priority 5180', 'ip -4 rule del priority 5180 from 10.0.0.0/8'],
  ['rule6\t99:\tfrom all fwmark 0x2000000/0xff000000 lookup 100', 'a mark in the byte 0xff000000', 'ip -6 rule del'],
  ['rule4\t99:\tfrom all lookup 5190', 'the table 5190', 'ip -4 rule del'],
  ['rule4\t5180:\tfrom all fwmark 0x2000000/0xfe000000 lookup 5181 proto 146', 'left by an earlier fleetmove', ''],
  ['table\tdefault via 10.0.0.1 dev eth1 table 5181 ', 'has a route already: default via 10.0.0.1', ''],
  ['nft.rule\t\tmeta mark & 0xff000000 == 0x02000000 accept', 'a firewall rule uses marks', 'lower bits'],
  ['nft.rule\t\tcounter meta mark set mark and 0xffffff xor 0x2000000', 'a firewall rule uses marks', ''],
  ['iptables\t-A PREROUTING -j CONNMARK --set-xmark 0x1000000/0xff000000', 'a firewall rule uses marks', ''],
  [
    'listener\tudp   UNCONN 0      0            0.0.0.0:51820      0.0.0.0:*    users:(("openvpn",pid=7,fd=3))',
    'UDP port 51820, which fleetmove needs for the tunnel, is in use by openvpn',
    'tunnel: { port: … }',
  ],
  ['listener\ttcp   LISTEN 0 128 [::]:52821 [::]:*', 'TCP port 52821, which fleetmove needs for probes, is in use', ''],
  ['link\t9: fm1: <BROADCAST> mtu 1500 qdisc noop', 'there is a device fm1 already', ''],
  ['nft.table\ttable inet fleetmove', 'a table inet fleetmove', 'nft delete table inet fleetmove'],
])('%s', (line, message, hint) => {
  const [found, ...more] = judge([line])
  expect(more).toEqual([])
  expect(found).toContain(message)
  expect(found).toContain(hint)
})

it('an address in a VRF is refused, also where its device is part of a bond there; a VRF for other devices is not', () => {
  const link = (name: string, master = ''): string =>
    `link\t9: ${name}: <BROADCAST> mtu 1500 qdisc noqueue${master && ` master ${master}`} state UP`
  const vrf = 'vrf\t8: blue: <NOARP,MASTER,UP> mtu 65575 qdisc noqueue state UP'
  expect(judge([vrf, link('eth0', 'bond0'), link('bond0', 'blue')])).toEqual(
    addresses.map((address) => expect.stringContaining(`${address} is in the VRF blue (device eth0)`)),
  )
  expect(judge([vrf, link('eth0', 'br0'), link('br0'), link('eth1', 'blue')])).toEqual([])
})

it.each(['cilium_host', 'bpfin.cali'])('what marks packets out of sight is known by its device %s', (name) => {
  expect(judge([`link\t9: ${name}@other: <BROADCAST> mtu 1500 qdisc noqueue`])).toEqual([
    expect.stringContaining(`(device ${name})`),
  ])
})

it('says nothing of what is ours', () => {
  expect(judge(['installed\tsocket', 'nft.table\ttable inet fleetmove', 'rule4\t5180:\tfrom all lookup 5181'])).toEqual(
    [],
  )
})

it('a table that nobody else can change is refused with what helps, when it filters', () => {
  const table = (name: string, hook: string): string[] =>
    [
      `table inet ${name} {`,
      '\tflags owner,persist',
      '\tchain c {',
      `\t\ttype filter hook ${hook} priority filter;`,
    ].map((line) => `nft.chain\t${line}`)
  expect(judge(table('firewalld', 'forward'))).toEqual([expect.stringContaining('NftablesTableOwner=no')])
  expect(judge(table('other', 'input'))).toEqual([expect.stringContaining('Let that program accept')])
  expect(judge(table('other', 'output'))).toEqual([])
})
