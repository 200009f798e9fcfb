import { Slots } from '../../../../controller/ssh/slots.js'

it('lets in as many as there are places, in the order of asking', async () => {
  const slots = new Slots(2)
  const order: number[] = []
  const take = (n: number): Promise<() => void> =>
    slots.take().then((release) => {
      order.push(n)
      return release
    })
  const [first, second] = await Promise.all([take(1), take(2)])
  const third = take(3)
  const fourth = take(4)
  await new Promise(setImmediate)
  expect(order).toEqual([1, 2])
  first()
  // Giving a place back twice makes no second one.
  first()
  await third
  await new Promise(setImmediate)
  expect(order).toEqual([1, 2, 3])
  second()
  await fourth
  expect(order).toEqual([1, 2, 3, 4])
})
