import type { JournalEntry } from '../../../controller/journal.js'
import { isOwnProbe } from '../../../controller/own-probes.js'

const over = Date.parse('2026-11-29T01:20:00.000Z')
const proof = (tookMs?: number): JournalEntry => ({
  ...{ type: 'proof', at: new Date(over).toISOString(), service: 'web' as never, ok: true, preserved: 1, total: 1 },
  ...{ probers: ['198.18.0.11'], ...(tookMs === undefined ? {} : { tookMs }) },
})

// Asked and answered at once, and with an agent that took 3 s to answer: it may have looked at either end.
const asked = over + 60_000
const ago = (offset: number): number => 60_000 - offset

test.each([
  ['within a verification that took long', proof(40_000), '198.18.0.11', -39_000, 0, true],
  ['just before it is noted', proof(300), '198.18.0.11', 0, 0, true],
  ['a client with the same address, before', proof(300), '198.18.0.11', -5000, 0, false],
  ['and after', proof(300), '198.18.0.11', 5000, 0, false],
  ['another client', proof(40_000), '198.18.0.77', -10_000, 0, false],
  ['an entry that doesn’t say how long it took', proof(), '198.18.0.11', -14_000, 0, true],
  ['an agent that was slow to look', proof(300), '198.18.0.11', -3000, 3000, true],
  ['a client before, of an agent that was slow to look', proof(300), '198.18.0.11', -5000, 3000, false],
])('%s', (_what, entry, client, offset, slow, own) =>
  expect(isOwnProbe([entry], client, ago(offset), { from: asked, to: asked + slow })).toBe(own),
)
