/** A switch that is taken back because the tunnel is down: whoever came meanwhile is late, and not refused. */
import { addresses, fleet } from '../chaos/fleet.js'
import { complaints } from '../load/client-load.js'
import { endPractices, type Practice, startPractice, withRoot } from './practice.js'

jest.setTimeout(240_000)
afterAll(endPractices)

withRoot('a switch while the tunnel is down', () => {
  let practice: Practice
  beforeAll(async () => {
    practice = await startPractice(`taken-back-${process.pid}`)
    await practice.fleet({ ...fleet, services: { web: fleet.services.web } })
    await practice.expect('up')
  })

  test('openings that went into the tunnel meanwhile are answered where the service is, and not where it stopped', async () => {
    // The tries of a client that came first are 1, 3, 7, 15 and 31 s old.
    const load = await practice.load('client1', { targets: [...addresses.old1], perSecond: 20, patience: 3 })
    let cut: Promise<void> | undefined
    const { events } = await practice.expect('advance web', 3, {
      onEvent: ({ type, what }) => {
        if (type === 'begin' && what === 'switch to new1') cut = practice.lab.cut('old1', 'new1')
      },
    })
    await cut
    await practice.lab.heal('old1', 'new1')
    expect(events.some(({ what }) => what === 'switch to new1')).toBe(true)
    expect((await practice.shell('new1', 'pgrep -x nginx || echo none')).trim()).toBe('none')
    const report = await load.stop()
    expect(complaints(report)).toEqual([])
    // Some did wait: they were on their way when the switch was made.
    expect(report.flatMap(({ slow }) => slow).length).toBeGreaterThan(0)
  })
})
