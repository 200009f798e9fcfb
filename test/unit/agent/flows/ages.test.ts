import { KnownAges, type Standing } from '../../../../agent/flows/ages.js'
import { ageText, drainText } from '../../../../controller/plan/drain-text.js'
import type { Ip } from '../../../../proto/model/address.js'

const one = (id: string, opened: number | null = null): Standing => ({
  client: `198.18.0.${id}` as Ip,
  ...{ id, socket: id, opened },
})
const silent = async (): Promise<Map<string, number>> => new Map()

test('what was noted is exact, and beats what only may be older', async () => {
  const ages = new KnownAges()
  const found = await ages.oldest('web', [one('1', 5000), one('2')], async () => new Map([['2', 1000]]), 10_000)
  expect(found).toEqual({ client: '198.18.0.1', ageMs: 5000, exact: true })
})

test('a socket that has been silent for long is at least that old, and no younger at the next look', async () => {
  const ages = new KnownAges()
  const first = await ages.oldest('web', [one('1'), one('2')], async () => new Map([['2', 7000]]), 10_000)
  expect(first).toEqual({ client: '198.18.0.2', ageMs: 7000, exact: false })
  // It talks meanwhile, so its socket tells nothing any more.
  const later = await ages.oldest('web', [one('1'), one('2')], silent, 20_000)
  expect(later).toEqual({ client: '198.18.0.2', ageMs: 17_000, exact: false })
})

test('without anything noted it counts from the first look; another connection begins anew, and so does another service', async () => {
  const ages = new KnownAges()
  const at = (service: string, id: string, now: number) => ages.oldest(service, [one(id)], silent, now)
  expect((await at('web', '1', 1000))?.ageMs).toBe(0)
  expect((await at('web', '1', 4000))?.ageMs).toBe(3000)
  expect((await at('mail', '1', 5000))?.ageMs).toBe(0)
  expect((await at('web', '2', 6000))?.ageMs).toBe(0)
  expect(await ages.oldest('web', [], silent, 7000)).toBeUndefined()
})

test('sockets are asked only where nothing was noted, and not at every look', async () => {
  const ages = new KnownAges()
  let asked = 0
  const ask = async (): Promise<Map<string, number>> => {
    asked += 1
    return new Map()
  }
  await ages.oldest('web', [one('1', 1)], ask, 1000)
  expect(asked).toBe(0)
  for (const now of [1000, 1500, 5999]) await ages.oldest('web', [one('1')], ask, now)
  expect(asked).toBe(1)
  await ages.oldest('web', [one('1')], ask, 6000)
  expect(asked).toBe(2)
})

test.each([
  [0, true, '0s'],
  [59_999, true, '59s'],
  [125_000, false, 'at least 2m5s'],
  [3_600_000, true, '1h'],
  [187_200_000, true, '2d4h'],
])('%d ms, exact %p: %s', (ageMs, exact, text) => {
  expect(ageText({ ageMs, exact })).toBe(text)
})

test('a drain names the three clients with the most connections, and the oldest', () => {
  const clients = ['a', 'b', 'c', 'd'].map((client, i) => ({ client, connections: 9 - i }))
  expect(drainText({ clients, oldest: { client: 'd', ageMs: 65_000, exact: false } })).toBe(
    'a (9), b (8), c (7), …; the oldest, of d, stands for at least 1m5s',
  )
  expect(drainText({ clients: clients.slice(0, 1) })).toBe('a (9)')
})
