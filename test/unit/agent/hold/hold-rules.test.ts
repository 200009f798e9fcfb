import {
  closeHoldText,
  type HeldListener,
  heldElements,
  heldKeys,
  openHoldText,
  probeQueueText,
  waitingMark,
  withoutOurMark,
  xtablesPrograms,
  xtablesRule,
} from '../../../../agent/hold/hold-rules.js'
import { elementsText } from '../../../../agent/plan/elements.js'
import { fromTunnel, intoTunnel } from '../../../../agent/plan/own.js'
import type { Ip } from '../../../../proto/model/address.js'

const web4: HeldListener = { protocol: 'tcp', address: '203.0.113.10' as Ip, ports: { from: 80, to: 81 } }
const dns6: HeldListener = { protocol: 'udp', address: '2001:db8:a::10' as Ip, ports: { from: 53, to: 53 } }

const engaging = (slot: number, listeners: readonly HeldListener[], maxMs: number): string =>
  elementsText({ add: heldElements(slot, listeners, maxMs), remove: [] })

test('the text of a hold, and of its end', () => {
  expect(openHoldText('nft-queue', 3, [web4, dns6], ['fm1'], new Set())).toBe(
    `add table inet fleetmove-hold
add map inet fleetmove-hold held4 { type ipv4_addr . inet_proto . inet_service : verdict; flags timeout; }
add map inet fleetmove-hold held6 { type ipv6_addr . inet_proto . inet_service : verdict; flags timeout; }
add chain inet fleetmove-hold prerouting { type filter hook prerouting priority -310; policy accept; }
flush chain inet fleetmove-hold prerouting
add rule inet fleetmove-hold prerouting iifname { "lo", "fm1" } accept
add rule inet fleetmove-hold prerouting tcp flags & (fin | syn | rst | ack) != syn accept
add rule inet fleetmove-hold prerouting meta l4proto { tcp, udp } ip daddr . meta l4proto . th dport vmap @held4
add rule inet fleetmove-hold prerouting meta l4proto { tcp, udp } ip6 daddr . meta l4proto . th dport vmap @held6
add chain inet fleetmove-hold hold-3
flush chain inet fleetmove-hold hold-3
add rule inet fleetmove-hold hold-3 counter queue num 5183
`,
  )
  expect(engaging(3, [web4, dns6], 15_000)).toBe(
    `add element inet fleetmove-hold held4 { 203.0.113.10 . tcp . 80 timeout 15000ms : goto hold-3, 203.0.113.10 . tcp . 81 timeout 15000ms : goto hold-3 }
add element inet fleetmove-hold held6 { 2001:db8:a::10 . udp . 53 timeout 15000ms : goto hold-3 }
`,
  )
  expect(closeHoldText(3, [dns6])).toBe(
    `add element inet fleetmove-hold held6 { 2001:db8:a::10 . udp . 53 : goto hold-3 }
delete element inet fleetmove-hold held6 { 2001:db8:a::10 . udp . 53 : goto hold-3 }
`,
  )
})

test('what a dead agent has left is deleted first', () => {
  const text = openHoldText('drop', 0, [web4], [], new Set(['203.0.113.10 . tcp . 81']))
  const deletion = 'delete element inet fleetmove-hold held4 { 203.0.113.10 . tcp . 81 }'
  expect(text).toContain(deletion)
})

test('nobody is let through for want of a listener', () => {
  for (const means of ['nft-queue', 'xtables-queue', 'drop'] as const) {
    expect(openHoldText(means, 0, [web4], [], new Set())).not.toContain('bypass')
  }
  expect(xtablesRule(0)).not.toContain('--queue-bypass')
  // What has missed xtables' queue is dropped behind it.
  const text = openHoldText('xtables-queue', 5, [web4], [], new Set())
  expect(text).toContain(
    'add rule inet fleetmove-hold hold-5 counter meta mark set meta mark & 0x00ffffff | 0x85000000',
  )
  expect(text).toContain('priority -290')
  expect(text).toContain('meta mark & 0x80000000 == 0x80000000 drop')
  expect(xtablesRule(5)).toEqual(expect.arrayContaining(['0x85000000/0xff000000', '5185']))
})

test('marks of waiting packets are nobody else’s, and come off', () => {
  const tunnels = Array.from({ length: 63 }, (_, i) => [fromTunnel(i + 1), intoTunnel(i + 1)]).flat()
  for (let slot = 0; slot < 64; slot++) expect(tunnels).not.toContain(waitingMark(slot))
  expect(withoutOurMark((waitingMark(63) | 0x4001) >>> 0)).toBe(0x4001)
})

test('ports one by one, each once, in commands of bearable length', () => {
  const all: HeldListener = { ...web4, ports: { from: 1, to: 65_535 } }
  expect(heldKeys([all, web4], 4)).toHaveLength(65_535)
  const lines = engaging(0, [all, web4], 1000).split('\n')
  expect(lines.filter((line) => line.startsWith('add element'))).toHaveLength(66)
  expect(heldKeys([all], 6)).toEqual([])
})

test('iptables only for the families that are held', () => {
  expect(xtablesPrograms([web4])).toEqual(['iptables'])
  expect(xtablesPrograms([web4, dns6])).toEqual(['iptables', 'ip6tables'])
})

test('the question whether the kernel can queue adds no base chain', () => {
  expect(probeQueueText()).not.toContain('hook')
})
