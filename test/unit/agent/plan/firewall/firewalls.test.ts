import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describeStep } from '../../../../../agent/kernel/describe-step.js'
import { commentOf } from '../../../../../agent/plan/firewall/allow.js'
import type { ForeignChain, IptablesCommand } from '../../../../../agent/plan/firewall/chain.js'
import { allowances, firewallRules, firewallSteps } from '../../../../../agent/plan/firewall/firewall-rules.js'
import { readFirewalls } from '../../../../../agent/plan/firewall/read-firewalls.js'
import { service, spec, tunnel } from '../specs.js'

const sample = (name: string): string => readFileSync(join(__dirname, 'samples', name), 'utf8')
const byIptables = (text: string, command: IptablesCommand = 'iptables-nft'): ForeignChain[] =>
  readFirewalls({ nft: [], iptables: [{ command, text }] })
const byNft = (text: string): ForeignChain[] => readFirewalls({ nft: [text], iptables: [] })
const wanted = allowances(spec([tunnel(1, { driver: 'openvpn' })], []))
const added = (chains: ForeignChain[]): string[] =>
  firewallSteps(firewallRules(wanted, chains), chains).adding.map(describeStep)
const drops = (chains: ForeignChain[]): Record<string, number | null> =>
  Object.fromEntries(chains.map(({ place, dropsAt }) => [place.chain, dropsAt]))

describe('where they drop what is not let in by name', () => {
  test.each([
    ['docker-20.txt', { INPUT: null, FORWARD: 0 }],
    ['docker-27.txt', { INPUT: null, FORWARD: 0 }],
    ['ufw-0.36.txt', { INPUT: 0, FORWARD: 0 }],
    ['tailscale.txt', { INPUT: null, FORWARD: null }],
    ['k3s.txt', { INPUT: null, FORWARD: null }],
    ['iptables-services-rhel.txt', { INPUT: 5, FORWARD: 1 }],
  ])('iptables, %s', (name, expected) => {
    expect(drops(byIptables(sample(name)))).toEqual(expected)
  })

  test("firewalld's tables: before the jump to zones that reject, and the check of the reverse path", () => {
    const found = drops(byNft(sample('firewalld-1.3.json')))
    expect(found).toEqual({ filter_PREROUTING: 11, filter_INPUT: 25, filter_FORWARD: 34, mangle_PREROUTING: null })
  })

  test('a ban of addresses is the operator’s will, a drop by device is not meant for us', () => {
    const rules = (...lines: string[]): string => `*filter\n:FORWARD ACCEPT [0:0]\n${lines.join('\n')}\nCOMMIT\n`
    const at = (...lines: string[]): number | null => byIptables(rules(...lines))[0]!.dropsAt
    expect(at('-A FORWARD -s 10.6.6.6/32 -j DROP')).toBeNull()
    expect(at('-A FORWARD -p tcp -m tcp --dport 25 -j REJECT')).toBeNull()
    expect(at('-A FORWARD ! -i docker0 -o docker0 -j DROP')).toBeNull()
    expect(at('-A FORWARD -m conntrack --ctstate INVALID -j DROP')).toBeNull()
    expect(at('-A FORWARD -s 10.6.6.6/32 -j DROP', '-A FORWARD -i eth0 -j DROP')).toBe(2)
    expect(at('-A FORWARD -m conntrack --ctstate NEW -j DROP')).toBe(1)
    expect(at('-A FORWARD -j ACCEPT', '-A FORWARD -j DROP')).toBeNull()
  })
})

test('clients that are redirected come translated, to a port that is open to nobody else', () => {
  const redirecting = service('web', [], { redirect: { port: 53820, to: 'https://www.example.org' } })
  const allows = allowances(spec([tunnel(1)], [redirecting]))
  const steps = (chains: ForeignChain[]): string =>
    firewallSteps(firewallRules(allows, chains), chains).adding.map(describeStep).join('\n')
  expect(steps(byIptables(sample('ufw-0.36.txt')))).toContain(
    "-p tcp -m tcp --dport 53820 -m conntrack --ctstate DNAT -m comment --comment 'fleetmove redirect 53820' -j ACCEPT",
  )
  expect(steps(byNft(sample('firewalld-1.3.json')))).toContain('tcp dport 53820 ct status dnat accept')
})

test('the rules are as narrow as can be, and told as they would be typed', () => {
  const chains = byIptables(sample('ufw-0.36.txt'))
  const steps = added(chains)
  expect(steps).toContain(
    "let chain FORWARD of iptables-nft pass what is forwarded for the move (its connections bear our mark): iptables-nft -w 5 -A FORWARD -m connmark '!' --mark 0x0/0xff000000 -m comment --comment 'fleetmove forwarded' -j ACCEPT",
  )
  expect(steps).toContain(
    "let chain INPUT of iptables-nft pass the tunnel: UDP port 51820 from 203.0.113.10: iptables-nft -w 5 -A INPUT -s 203.0.113.10 -p udp -m udp --dport 51820 -m comment --comment 'fleetmove tunnel 51820 203.0.113.10' -j ACCEPT",
  )
  // IPv6 is ip6tables' affair.
  expect(steps.filter((step) => /fd12|fe80/.test(step))).toEqual([])
})

test('a chain of nftables gets them before what drops, by its handle', () => {
  const steps = added(byNft(sample('firewalld-1.3.json')))
  expect(steps).toContain(
    `let chain filter_FORWARD of the nftables table inet firewalld pass what is forwarded for the move (its connections bear our mark): nft 'insert rule inet firewalld filter_FORWARD handle 34 ct mark & 0xff000000 != 0 accept comment "fleetmove forwarded"'`,
  )
  expect(steps.some((step) => step.includes('filter_PREROUTING') && step.includes('comment "fleetmove steered"'))).toBe(
    true,
  )
})

describe('rules of ours that stand', () => {
  const rule = '-m connmark ! --mark 0x0/0xff000000 -m comment --comment "fleetmove forwarded" -j ACCEPT'
  const steps = (lines: string[], policy = 'DROP'): string[] => {
    const chains = byIptables(`*filter\n:FORWARD ${policy} [0:0]\n${lines.join('\n')}\nCOMMIT\n`)
    const { adding, removing } = firewallSteps(firewallRules(wanted, chains), chains)
    return [...adding, ...removing].map((step) => step.do)
  }
  it('are enough', () => expect(steps([`-A FORWARD ${rule}`])).toEqual([]))
  it('are put before what drops', () =>
    expect(steps(['-A FORWARD -j DROP', `-A FORWARD ${rule}`])).toEqual(['remove-firewall-rule', 'add-firewall-rule']))
  it('stand once', () => expect(steps([`-A FORWARD ${rule}`, `-A FORWARD ${rule}`])).toEqual(['remove-firewall-rule']))
  it('go when nothing drops any more', () =>
    expect(steps([`-A FORWARD ${rule}`], 'ACCEPT')).toEqual(['remove-firewall-rule']))
})

test('every comment fits into both tools’ limits', () => {
  for (const allow of wanted) expect(commentOf(allow).length).toBeLessThan(128)
})
