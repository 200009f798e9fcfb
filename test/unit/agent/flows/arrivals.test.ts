import { parseArrivals, parseOpened } from '../../../../agent/flows/arrivals.js'

const metainfo = { metainfo: { version: '1.0.6', json_schema_version: 1 } }
const set = (elem?: unknown[]) =>
  JSON.stringify({
    nftables: [metainfo, { set: { family: 'inet', name: 'arrivals4', timeout: 604_800, ...(elem ? { elem } : {}) } }],
  })
const element = (protocol: string | number, more: object = { counter: { packets: 3, bytes: 180 } }) => ({
  elem: { val: { concat: ['198.18.9.9', '203.0.113.10', protocol, 443] }, expires: 604_788, ...more },
})

test.each([
  [6, 'tcp'],
  ['tcp', 'tcp'],
  [17, 'udp'],
  ['udp', 'udp'],
])('protocol %p is %s', (written, protocol) => {
  expect(parseArrivals(set([element(written)]))).toEqual([
    { client: '198.18.9.9', address: '203.0.113.10', protocol, port: 443, count: 3, lastSeenMsAgo: 12_000 },
  ])
})

test('an empty set has no elem, an element may have no counter yet', () => {
  expect(parseArrivals(set())).toEqual([])
  expect(parseArrivals(set([element(6, {})]))).toMatchObject([{ count: 0 }])
})

test('what is neither TCP nor UDP is left out, what is no list of nft is refused', () => {
  expect(parseArrivals(set([element('icmp'), element(6)]))).toHaveLength(1)
  expect(() => parseArrivals('{"error": 1}')).toThrow()
  expect(() => parseArrivals(set([{ elem: { val: 'x' } }]))).toThrow()
})

test('counters by service; names with a dash, and counters of others', () => {
  const counter = (name: string, packets: number) => ({
    counter: { family: 'inet', name, table: 'fleetmove', packets, bytes: 1 },
  })
  const json = JSON.stringify({
    nftables: [
      metainfo,
      counter('web-forwarded', 5),
      counter('web-served', 7),
      counter('a-served-b-served', 2),
      counter('other', 9),
    ],
  })
  expect([...parseOpened(json)]).toEqual([
    ['web', { forwarded: 5, served: 7 }],
    ['a-served-b', { forwarded: 0, served: 2 }],
  ])
})
