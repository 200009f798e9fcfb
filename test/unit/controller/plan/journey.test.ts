import { type Hop, inOrderOfWay, judge, type Leg, legsOf } from '../../../../controller/plan/journey.js'
import { ownerOf } from '../../../../controller/plan/rule-owner.js'
import type { Ip } from '../../../../proto/model/address.js'

const client = '198.18.0.11' as Ip
const hop = (chain: string, part: Partial<Hop>): Hop => ({
  ...{ packet: '1', family: 'inet', table: 'fleetmove-trace', chain, kind: 'policy', verdict: 'accept', text: '' },
  ...part,
})
const header = (devices: string, source: string, target: string, flags = '0x2'): Partial<Hop> => ({
  kind: 'packet',
  verdict: '',
  text: `${devices} ether saddr 86:0d:00:2e:bb:a3 ip saddr ${source.replace(' ', ' ip daddr X tcp sport ').replace('X', target.split(' ')[0]!)} tcp dport ${target.split(' ')[1]} tcp flags == ${flags} tcp window 1`,
})

/** As a forwarder's kernel tells of a SYN. */
const forwarded = [
  hop('prerouting', header('iif "eth0"', '198.18.0.11 4000', '198.51.100.10 80')),
  hop('fwd-web-1', { table: 'fleetmove', kind: 'rule', text: 'dnat ip to 203.0.113.10' }),
  hop('after-prerouting', {}),
  hop('FORWARD', { family: 'ip', table: 'filter', kind: 'policy' }),
  hop('after-forward', {}),
  hop('after-postrouting', header('iif "eth0" oif "fm1"', '198.18.0.11 4000', '203.0.113.10 80')),
  hop('after-postrouting', {}),
]

it('tells a packet’s way through a host that forwards', () => {
  expect(legsOf('new', forwarded, client)).toEqual([
    {
      ...{
        host: 'new',
        direction: 'request',
        in: 'eth0',
        out: 'fm1',
        end: 'sent',
        lastHook: 'postrouting',
        refusal: false,
      },
      arrived: '198.18.0.11 4000 → 198.51.100.10 80',
      left: '198.18.0.11 4000 → 203.0.113.10 80',
      rules: [{ owner: 'fleetmove', chain: 'fwd-web-1', text: 'dnat ip to 203.0.113.10', verdict: 'accept' }],
    },
  ])
})

it('tells of a retransmission once, and knows a refusal', () => {
  const again = forwarded.map((each) => ({ ...each, packet: '2' }))
  expect(legsOf('new', [...forwarded, ...again], client)).toHaveLength(1)
  const [reset] = legsOf(
    'new',
    [hop('output', header('oif "eth0"', '203.0.113.10 80', '198.18.0.11 4000', '0x14'))],
    client,
  )
  expect(reset).toMatchObject({ direction: 'reply', refusal: true, in: null, end: 'vanished' })
})

const leg = (host: string, direction: Leg['direction'], part: Partial<Leg> = {}): Leg => ({
  ...{ host, direction, in: 'eth0', out: 'fm1', arrived: 'a 1 → b 2', left: 'a 1 → c 3' },
  ...{ refusal: false, rules: [], end: 'sent', lastHook: 'postrouting' },
  ...part,
})
const whole = [
  leg('new', 'request'),
  leg('old', 'request', { end: 'delivered', lastHook: 'input' }),
  leg('old', 'reply'),
  leg('new', 'reply', { out: 'eth0' }),
]
const dropRule = { owner: 'ufw', chain: 'ufw-user-input', text: 'tcp dport 80 drop', verdict: 'drop' }

it.each<[string, Leg[], boolean, RegExp]>([
  ['all is well', whole, true, /^it passes both ways, and old answers$/],
  ['nothing came', [], false, /nothing of client1 arrived at new/],
  [
    'a firewall of the active host',
    [whole[0]!, leg('old', 'request', { end: 'dropped', lastHook: 'prerouting', rules: [dropRule] })],
    false,
    /old drops it: the rule "tcp dport 80 drop" in chain ufw-user-input \(ufw\)/,
  ],
  [
    'a policy of the forwarder',
    [
      leg('new', 'request', {
        end: 'dropped',
        rules: [{ ...dropRule, owner: 'Docker', chain: 'FORWARD', text: 'policy' }],
      }),
    ],
    false,
    /new drops it: the policy of chain FORWARD \(Docker\)/,
  ],
  [
    'a reverse path filter',
    [whole[0]!, leg('old', 'request', { end: 'vanished', lastHook: 'prerouting' })],
    false,
    /old loses it after prerouting, though no rule of nf_tables drops it/,
  ],
  ['a tunnel that is cut', [whole[0]!], false, /new sent it into fm1, but it did not come out on old/],
  ['a service that hangs', whole.slice(0, 2), false, /it reached old, and nothing answered/],
  ['a service that is down', [...whole.slice(0, 2), leg('old', 'reply', { refusal: true })], false, /old refused it/],
  ['an answer that goes astray', whole.slice(0, 3), false, /the answer left old by fm1, but did not come back to new/],
  [
    'an answer that is dropped',
    [...whole.slice(0, 3), leg('new', 'reply', { end: 'dropped', rules: [dropRule] })],
    false,
    /new drops the answer/,
  ],
  ['a firewall in front', whole, false, /the answer left new by eth0, and client1 has not heard it/],
])('%s', (_, legs, answered, text) => {
  const verdict = judge({ ingress: 'new', active: 'old', legs, answered, sender: 'client1' })
  expect(verdict.text).toMatch(text)
  expect(verdict.ok).toBe(answered)
  expect(verdict.hint === '').toBe(answered)
})

it('puts the way in order', () => {
  expect(inOrderOfWay([whole[3]!, whole[1]!, whole[2]!, whole[0]!], 'new')).toEqual(whole)
  expect(inOrderOfWay([whole[2]!, whole[1]!], 'old').map(({ direction }) => direction)).toEqual(['request', 'reply'])
})

it.each([
  ['inet', 'fleetmove', 'open-prerouting', 'fleetmove'],
  ['ip', 'filter', 'DOCKER-USER', 'Docker'],
  ['ip6', 'filter', 'ufw6-before-input', 'ufw'],
  ['inet', 'firewalld', 'filter_INPUT', 'firewalld'],
  ['ip', 'filter', 'FORWARD', 'iptables -t filter'],
  ['ip6', 'mangle', 'PREROUTING', 'ip6tables -t mangle'],
  ['inet', 'filter', 'input', 'nft table inet filter'],
  ['ip', 'nat', 'KUBE-SERVICES', 'Kubernetes'],
])('%s %s %s is of %s', (family, table, chain, owner) => {
  expect(ownerOf({ family, table, chain })).toBe(owner)
})
