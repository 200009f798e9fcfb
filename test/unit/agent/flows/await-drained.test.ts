import { awaitDrained, type Drain } from '../../../../agent/flows/drain.js'

const left = (answered: number): Drain => ({ forwarded: 0, answered, answeredFromTunnel: 0, clients: [] })
const looks = (...found: number[]): jest.Mock<Promise<Drain>> => {
  let next = 0
  return jest.fn(async () => left(found[Math.min(next++, found.length - 1)]!))
}

test('looks until nobody is left, and tells that', async () => {
  const look = looks(2, 1, 0)
  expect(await awaitDrained(look, 10_000)).toEqual(left(0))
  expect(look).toHaveBeenCalledTimes(3)
})

test('looks once where there is no time, and tells who is left when it is over', async () => {
  const once = looks(3)
  expect(await awaitDrained(once, 0)).toEqual(left(3))
  expect(once).toHaveBeenCalledTimes(1)
  const again = looks(3)
  expect(await awaitDrained(again, 30)).toEqual(left(3))
  expect(again.mock.calls.length).toBeGreaterThan(1)
})
