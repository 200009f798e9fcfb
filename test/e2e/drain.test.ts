/** A drain says who is left, and for how long; then it does what `drain_then` says. */
import { type Event, Practice, withRoot } from './practice.js'

jest.setTimeout(600_000)

const [old4, old6] = ['203.0.113.10', '2001:db8:a::10']
const [new4, new6] = ['198.51.100.10', '2001:db8:b::10']
const client = '198.18.0.11'
const service = (port: number, then: 'leave' | 'reset') => ({
  ...{ from: 'old1', to: 'new1', listen: [`tcp/${port}`], health: { command: 'true' } },
  ...{ drain: '15s', drain_then: then },
})
const fleet = {
  fleet: 'drain',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: { patient: service(7001, 'leave'), strict: service(7002, 'reset') },
}
const oldest = { client, ageMs: expect.any(Number), exact: false }
const clients = [{ client, connections: 1 }]

withRoot('drain', () => {
  let practice: Practice

  beforeAll(async () => {
    practice = await Practice.start('drain')
    for (const host of ['old1', 'new1']) await practice.serve(host, host, ['tcp :: 7001', 'tcp :: 7002'])
    await practice.fleet(fleet)
    await practice.must('up', '--json')
  })
  afterAll(() => practice?.end())

  test('who stays is told of; leave lets them talk on, reset ends them', async () => {
    const staying = await practice.hold('client1', [`${old4}:7001`])
    const doomed = await practice.hold('client1', [`${old4}:7002`])
    const updates = new Map<unknown, Event>()
    const { events } = await practice.expect('advance --all --parallel 2', 0, {
      onEvent: (event) => {
        if (event.type !== 'update' || event.what !== 'drain on old1') return
        updates.set(event.subject, event)
      },
    })
    for (const name of ['patient', 'strict']) {
      expect(updates.get(name)).toMatchObject({ established: 1, clients, oldest })
      const end = events.find(
        (event) => event.subject === name && event.type === 'end' && event.what === 'drain on old1',
      )
      expect(end).toMatchObject({ established: 1, clients, oldest })
      // It has stood for all of the drain by then, whatever else is known of it.
      expect((end!.oldest as { ageMs: number }).ageMs).toBeGreaterThan(10_000)
      expect(end!.result).toMatch(
        /^1 left after 15 s: 198\.18\.0\.11 \(1\); the oldest, of 198\.18\.0\.11, stands for at least \d+/,
      )
    }
    expect(events.at(-1)!.services).toEqual(
      expect.arrayContaining(
        ['patient', 'strict'].map((name) => expect.objectContaining({ service: name, active: 'new1', undrained: 1 })),
      ),
    )
    const [[stayed], [ended]] = [await staying(), await doomed()]
    expect(stayed!.error).toBe('')
    // The last word may be on its way.
    expect(stayed!.said - stayed!.back).toBeLessThanOrEqual(1)
    expect(stayed!.greeting).toContain('old1')
    expect(ended!.error).toMatch(/ECONNRESET|closed/)
  })
})
