import { likelyCause, type StragglerFacts } from '../../../../controller/plan/straggler-cause.js'

const hour = 3_600_000
const facts = (part: Partial<StragglerFacts>): StragglerFacts => ({
  ...{ names: [], port: 443, lastSeenMs: 2 * hour, cachesGoneMs: hour },
  ...part,
})

it.each([
  ['before the caches are empty', facts({ lastSeenMs: hour }), 'cached'],
  ['after', facts({}), 'ttl-ignored'],
  ['a day later', facts({ lastSeenMs: 30 * hour }), 'literal-address'],
  ['a mail exchanger at port 25', facts({ port: 25, names: ['mail-out3.example.org'] }), 'mail-exchanger'],
  ['its name at another port says nothing', facts({ names: ['mail.example.org'] }), 'ttl-ignored'],
  ['a monitor', facts({ names: ['probe-7.pingdom.com'] }), 'monitor'],
  ['a word within a word', facts({ names: ['checkout.example.org'] }), 'ttl-ignored'],
  ['the record is not known to have changed', facts({ cachesGoneMs: null }), 'unknown'],
])('%s', (_, given, cause) => {
  expect(likelyCause(given)).toBe(cause)
})
