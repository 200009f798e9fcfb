/** A short torment with fixed blows; `npm run chaos` is the long one, by chance and at every moment. */
import type { Known } from '../chaos/faults.js'
import { hosts } from '../chaos/faults.js'
import { startChaos } from '../chaos/fleet.js'
import { type Blow, type CommandName, remember } from '../chaos/phase.js'
import { Random } from '../chaos/random.js'
import { Report } from '../chaos/report.js'
import { type Torment, walk } from '../chaos/round.js'
import { isLong } from './long.js'
import { endPractices, withRoot } from './practice.js'

jest.setTimeout(300_000)
afterAll(endPractices)

withRoot('a move in which every command is struck', () => {
  test('no service runs twice or nowhere, nobody untouched notices, hosts are what they were', async () => {
    const practice = await startChaos(`chaos-${process.pid}`)
    const known: Known = new Map()
    for (const host of hosts) await remember(practice, known, host)
    const report = new Report()
    const torment: Torment = { practice, report, known, moments: new Map() }
    // Everything stands on trial, for the first time: the hosts must get rid of all of it alone.
    const first: [CommandName, Blow] = [
      'up',
      { fault: 'cut off for good', moment: 'new1 Apply answered 1', host: 'new1' },
    ]
    const whole: [CommandName, Blow | undefined][] = [
      first,
      // In the gap of the queue, which must not be lost between two hosts.
      ['advance', { fault: 'kill controller', moment: 'old1 Gap answered 2', host: 'old1' }],
      ['down from moved', { fault: 'kill agent', moment: 'new1 Apply answered 1', host: 'new1' }],
    ]
    const blows = isLong ? whole : [first, ['down from forwarding', undefined] as const]
    await walk(torment, new Random('1'), 'short:', blows)
    expect(report.violations).toEqual([])
    expect(report.moments.size).toBe(blows.filter(([, blow]) => blow).length)
    // Nothing was confirmed by then: both hosts were compared with how they were found.
    expect(report.compared).toEqual({ equal: 2, different: 0, unknown: 0 })
    await practice.end()
  })
})
