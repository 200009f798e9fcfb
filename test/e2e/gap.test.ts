/** A controller that dies while its service is stopped on one host and not yet started on the other. */
import { Watch } from '../chaos/watch.js'
import { complaints } from '../load/client-load.js'
import { shortened } from './long.js'
import { addressesOf, type Event, endPractices, type Practice, startPractice, until, withRoot } from './practice.js'

jest.setTimeout(300_000)
afterAll(endPractices)

const [old4 = '', old6 = ''] = addressesOf('old1')
const [new4 = '', new6 = ''] = addressesOf('new1')
const nginx = '/run/nginx.pid'
const fleet = {
  fleet: 'gap',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: {
    web: {
      ...{ from: 'old1', to: 'new1', listen: ['tcp/80'], strategy: 'recreate', hold: '12s', drain: '1s' },
      run: {
        start: 'pgrep -x nginx >/dev/null || nginx',
        stop: '! pgrep -x nginx >/dev/null || { nginx -s stop; while pgrep -x nginx >/dev/null; do sleep 0.02; done; }',
      },
      health: { http: 'http://127.0.0.1:80/healthz' },
    },
  },
}

interface Place {
  stage: string
  active: string
  paused: boolean
}
const place = async (practice: Practice): Promise<Place> => {
  const { events } = await practice.expect('status')
  const [web] = (events[0] as unknown as { services: Place[] }).services
  return { stage: web!.stage, active: web!.active, paused: web!.paused }
}

withRoot('a controller that is killed in the gap of a service that must never run twice', () => {
  let practice: Practice
  beforeAll(async () => {
    practice = await startPractice(`gap-${process.pid}`)
    await practice.fleet(fleet)
    await practice.expect('up')
  })
  afterAll(() => practice.end())

  const at = (type: string, what: string) => (event: Event) =>
    event.type === type && event.what === what && event.result !== 'failed'
  const moments = [
    ['as it stops on the old host', at('begin', 'stop on old1'), /^old1$/],
    ['as it starts on the new one', at('begin', 'start on new1'), /^(old|new)1$/],
    ['before clients are let go', at('end', 'start on new1'), /^new1$/],
  ] as const
  test.each([...shortened(moments, moments.slice(2), 'moments')])(
    '%s: it answers again without anybody, on one host alone, and nobody is refused',
    async (_, moment, where) => {
      const load = await practice.load('client1', {
        ...{ targets: [old4, old6, new4, new6], perSecond: 10, patience: 3 },
      })
      let twice = false
      const watch = new Watch(practice.lab, () => (twice = true), nginx)
      let struck = false
      const running = practice.start('advance web -v', {
        onEvent: (event) => {
          if (!moment(event)) return
          struck = true
          running.kill()
        },
      })
      expect([(await running.ended).code, struck]).toEqual([128 + 9, true])
      await until('a service that answers', async () => {
        const { paused } = await place(practice)
        return !paused && watch.nowhereSince === undefined
      })
      const { active } = await place(practice)
      expect(active).toMatch(where)
      const calls = [old4, old6, new4, new6].map((address) => ({ protocol: 'tcp' as const, address, port: 80 }))
      for (const { connectMs } of await practice.ask('client2', calls)) expect(connectMs).toBeGreaterThanOrEqual(0)
      // The lock of the dead run is its own for a while.
      await until('the same command again', async () => (await practice.run('advance web')).code === 0)
      expect(await place(practice)).toEqual({ stage: 'moved', active: 'new1', paused: false })
      watch.end()
      expect(twice).toBe(false)
      expect(complaints(await load.stop())).toEqual([])
      await practice.expect('rollback web')
    },
  )

  test('the hosts are as they were found in the end', async () => {
    await practice.expect('down')
    expect(await practice.leftovers()).toEqual([])
  })
})
