import { cachesGoneAtMs, type Look, replaced, sideOf, togetherOf } from '../../../../controller/plan/dns-verdict.js'
import type { Ip } from '../../../../proto/model/address.js'

const ip = (text: string): Ip => text as Ip
const changes = [
  { old: ip('203.0.113.1'), new: ip('198.51.100.1') },
  { old: ip('203.0.113.2'), new: ip('198.51.100.2') },
]

it.each([
  [[], 'none'],
  [['203.0.113.1'], 'old'],
  [['198.51.100.1', '198.51.100.2'], 'new'],
  [['203.0.113.1', '198.51.100.2'], 'mixed'],
  [['192.0.2.7'], 'other'],
  [['192.0.2.7', '203.0.113.2'], 'old'],
])('%j is %s', (addresses, side) => {
  expect(sideOf(addresses.map(ip), changes)).toBe(side)
})

it('servers that fail count only where all do', () => {
  expect(togetherOf(['failed', 'new', 'new'])).toBe('new')
  expect(togetherOf(['old', 'new'])).toBe('mixed')
  expect(togetherOf(['failed'])).toBe('failed')
  expect(togetherOf([])).toBe('failed')
})

it('replaces what is ours, leaves what is not, and comes back', () => {
  const before = ['192.0.2.7', '203.0.113.1', '203.0.113.2'].map(ip)
  const after = replaced(before, changes, 'new')
  expect(after).toEqual(['192.0.2.7', '198.51.100.1', '198.51.100.2'])
  expect(replaced(after, changes, 'new')).toEqual(after)
  expect(replaced(after, changes, 'old')).toEqual(before)
})

it('two old addresses may become one', () => {
  const one = [changes[0]!, { old: ip('203.0.113.2'), new: ip('198.51.100.1') }]
  expect(replaced(['203.0.113.1', '203.0.113.2'].map(ip), one, 'new')).toEqual(['198.51.100.1'])
})

describe('the last cached answer that obeys', () => {
  const look = (second: number, side: Look['side'], ttlSeconds: number): Look => ({
    atMs: second * 1000,
    side,
    ttlSeconds,
  })
  it.each([
    ['nobody has looked', [], null],
    ['the old address is given', [look(0, 'old', 60)], null],
    ['it was never seen', [look(0, 'new', 60), look(9, 'new', 60)], null],
    ['changed between two looks: the later counts', [look(0, 'old', 60), look(100, 'new', 30)], 160],
    ['the first look at the new address counts', [look(0, 'old', 60), look(10, 'new', 60), look(50, 'new', 60)], 70],
    [
      'lowered, then changed at once: the longer one',
      [look(0, 'old', 3600), look(10, 'old', 60), look(20, 'new', 60)],
      3610,
    ],
    ['lowered, waited, changed', [look(0, 'old', 3600), look(10, 'old', 60), look(4000, 'new', 60)], 4060],
    [
      'back and forth: the last change counts',
      [look(0, 'old', 60), look(10, 'new', 60), look(20, 'old', 60), look(30, 'new', 60)],
      90,
    ],
    ['back to old', [look(0, 'new', 60), look(10, 'old', 60)], null],
  ])('%s', (_, looks, second) => {
    expect(cachesGoneAtMs(looks)).toBe(second === null ? null : second * 1000)
  })
})
