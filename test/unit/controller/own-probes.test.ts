import type { JournalEntry } from '../../../controller/journal.js'
import { isOwnProbe } from '../../../controller/own-probes.js'

const over = Date.parse('2026-11-29T01:20:00.000Z')
const proof = (tookMs?: number): JournalEntry => ({
  ...{ type: 'proof', at: new Date(over).toISOString(), service: 'web' as never, ok: true, preserved: 1, total: 1 },
  ...{ probers: ['198.18.0.11'], ...(tookMs === undefined ? {} : { tookMs }) },
})

test.each([
  ['within a verification that took long', proof(40_000), '198.18.0.11', -39_000, true],
  ['just before it is noted', proof(300), '198.18.0.11', 0, true],
  ['a client with the same address, before', proof(300), '198.18.0.11', -5000, false],
  ['and after', proof(300), '198.18.0.11', 5000, false],
  ['another client', proof(40_000), '198.18.0.77', -10_000, false],
  ['an entry that doesn’t say how long it took', proof(), '198.18.0.11', -14_000, true],
])('%s', (_what, entry, client, offset, own) => expect(isOwnProbe([entry], client, over + offset)).toBe(own))
