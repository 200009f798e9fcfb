/** A host without its agent, or without all that the agent knew: what runs by it stays, and nothing of it is left behind. */
import { complaints, type Load } from '../load/client-load.js'
import { Practice, withRoot } from './practice.js'

jest.setTimeout(180_000)

const [old4, old6] = ['203.0.113.10', '2001:db8:a::10']
const moving = (to: string, port: number) => ({
  ...{ from: 'old1', to, listen: [`tcp/${port}`], drain: '1s', health: { command: 'true' } },
})
const fleet = {
  fleet: 'lost-agent',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: 'root@198.51.100.10', addresses: ['198.51.100.10', '2001:db8:b::10'] },
    new2: { ssh: 'root@198.51.100.20', addresses: ['198.51.100.20', '2001:db8:b2::20'] },
  },
  services: { web: moving('new1', 7001), api: moving('new2', 80) },
}
const killAgent = 'kill -9 $(cat /run/fleetmove/agent.pid)'

withRoot('a host without its agent', () => {
  let practice: Practice
  const serve = (host: string) => practice.serve(host, host, ['tcp :: 7001'])
  const stages = async (): Promise<unknown> => {
    const { events } = await practice.expect('status')
    const { services, drift } = events[0] as unknown as {
      services: { name: string; stage: string; active: string }[]
      drift: unknown[]
    }
    return { drift, ...Object.fromEntries(services.map(({ name, stage, active }) => [name, `${stage} on ${active}`])) }
  }
  const load = (): Promise<Load> =>
    practice.load('client1', { targets: ['198.51.100.20', '2001:db8:b2::20', old4, old6], perSecond: 15 })

  beforeAll(async () => {
    practice = await Practice.start('lost-agent')
    for (const host of ['old1', 'new1']) await serve(host)
    await practice.fleet(fleet)
    await practice.expect('up')
  })
  afterAll(() => practice?.end())

  test('its clients go on while another service is asked to move, which waits for `up`', async () => {
    const clients = await load()
    await practice.shell('new2', killAgent)
    const { events } = await practice.expect('advance web', 1)
    expect(events).toContainEqual(
      expect.objectContaining({
        ...{ type: 'error', code: 'unreachable', host: 'new2' },
        hint: expect.stringContaining('`fleetmove up`'),
      }),
    )
    // Of api nothing could be tried: that is no proof.
    await practice.expect('verify', 1)
    await practice.expect('verify web')
    expect(await stages()).toMatchObject({ web: 'forwarding on old1', api: 'forwarding on old1' })
    await practice.expect('up')
    await practice.expect('advance web')
    expect(complaints(await clients.stop())).toEqual([])
    expect(await stages()).toEqual({ drift: [], web: 'moved on new1', api: 'forwarding on old1' })
  })

  test('all that an old host knew is lost: `up` puts it back, and what has moved stays moved', async () => {
    await practice.shell('old1', `${killAgent}; rm -rf /var/lib/fleetmove`)
    await practice.lab.reboot('old1')
    await serve('old1')
    await practice.shell('old1', 'pgrep -x nginx || nginx')
    await practice.expect('advance api', 1)
    await practice.expect('up')
    expect(await stages()).toEqual({ drift: [], web: 'moved on new1', api: 'forwarding on old1' })
    const clients = await load()
    await practice.expect('up')
    expect(complaints(await clients.stop())).toEqual([])
  })

  test('`down` starts an agent again that has something to take back', async () => {
    await practice.shell('new2', killAgent)
    await practice.expect('down')
    expect(await practice.leftovers()).toEqual([])
  })
})
