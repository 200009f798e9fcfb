import { parseTraceLine } from '../../../../agent/explain/parse-trace.js'

it.each([
  [
    'trace id 762d2519 inet fw out packet: oif "lo" ip saddr 127.0.0.1 ip daddr 127.0.0.1 tcp sport 39704 tcp dport 80 ',
    { kind: 'packet', table: 'fw', chain: 'out', verdict: '' },
  ],
  [
    'trace id 8a7ea2cf inet fw sub rule iif "lo" tcp dport 80 counter packets 0 bytes 0 drop comment "foo (verdict accept)" (verdict drop)',
    {
      kind: 'rule',
      verdict: 'drop',
      text: 'iif "lo" tcp dport 80 counter packets 0 bytes 0 drop comment "foo (verdict accept)"',
    },
  ],
  ['trace id 8a7ea2cf inet fw input rule tcp dport vmap @m (verdict goto sub)', { kind: 'rule', verdict: 'goto sub' }],
  ['trace id 8a7ea2cf ip filter INPUT policy accept ', { kind: 'policy', family: 'ip', verdict: 'accept' }],
])('%s', (line, hop) => {
  expect(parseTraceLine(line)).toMatchObject(hop)
})

it.each(['', 'trace id 8a7ea2cf inet fw input verdict continue', 'add table inet x', 'trace id zz'])(
  'passes over "%s"',
  (line) => {
    expect(parseTraceLine(line)).toBeNull()
  },
)
