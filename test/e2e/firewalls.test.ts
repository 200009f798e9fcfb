/** A host's own firewall lets the move pass while it lasts, loses nothing else, and is as it was afterwards. */
import { firewalls } from './firewalls.js'
import { shortened } from './long.js'
import { endPractices, type Practice, startPractice, until, withRoot } from './practice.js'

jest.setTimeout(300_000)
afterAll(endPractices)

/** Each takes half a minute. */
const tried = shortened(
  firewalls,
  firewalls.filter(({ name }) => name === 'ufw'),
  'firewalls',
)

describe.each(tried.map((each) => [each.name, each] as const))('%s', (_name, { setUp, reload, ours }) => {
  withRoot('on both hosts', () => {
    let practice: Practice
    beforeAll(async () => {
      practice = await startPractice(`firewall-${process.pid}`, async (each) => {
        await each.shell('controller', `sed -i '/^vantages:/,$d' /root/fleet.yaml`)
        for (const host of ['old1', 'new1']) await each.shell(host, setUp)
      })
    })
    afterAll(() => practice.end())

    test('up goes through it, and a second plan is empty', async () => {
      await practice.expect('up')
      for (const host of ['old1', 'new1']) expect(await practice.shell(host, ours)).toContain('fleetmove tunnel')
      await practice.expect('plan')
    })

    test('what its own tool takes away by a reload is put back', async () => {
      await practice.shell('new1', reload)
      await until('our rules', async () => /fleetmove tunnel/.test(await practice.shell('new1', `${ours} || :`)))
      await practice.expect('verify')
    })

    test('a service goes over and back', async () => {
      await practice.expect('advance web')
      await practice.expect('rollback web')
    })

    test('it is as it was found', async () => {
      await practice.expect('down')
      expect(await practice.leftovers()).toEqual([])
    })
  })
})
