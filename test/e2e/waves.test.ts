/** Whole fleets: waves with a gate and a failure budget; and a recreate service that fails on its new host, or has written there. */
import { answeredBy, complaints } from '../load/client-load.js'
import { type Ended, Practice, withRoot } from './practice.js'

jest.setTimeout(300_000)

const [old4, old6] = ['203.0.113.10', '2001:db8:a::10']
const [new4, new6] = ['198.51.100.10', '2001:db8:b::10']
const rolling = (port: number, wave: number) => ({
  ...{ from: 'old1', to: 'new1', listen: [`tcp/${port}`], wave, drain: '1s', health: { command: 'true' } },
})
const fleet = {
  fleet: 'waves',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: {
    first: rolling(7001, 1),
    fragile: { ...rolling(7002, 2), hooks: { before_move: 'test ! -e /run/fragile' } },
    second: rolling(7003, 2),
    app: {
      ...{ from: 'old1', to: 'new1', listen: ['tcp/80'], strategy: 'recreate', wave: 3, hold: '20s', drain: '2s' },
      run: {
        start:
          'if [ -e /run/writes ]; then echo early >>/srv/app/orders; fi; test ! -e /run/broken && { test -e /run/deaf || nginx; }',
        stop: '! pgrep -x nginx >/dev/null || { nginx -s stop; while pgrep -x nginx >/dev/null; do sleep 0.02; done; }',
      },
      data: ['/srv/app'],
    },
  },
}

withRoot('waves', () => {
  let practice: Practice

  beforeAll(async () => {
    practice = await Practice.start('waves')
    for (const host of ['old1', 'new1'])
      await practice.serve(
        host,
        host,
        [7001, 7002, 7003].map((port) => `tcp :: ${port}`),
      )
    await practice.shell('old1', 'mkdir /srv/app && echo first >/srv/app/orders')
    await practice.fleet(fleet)
    await practice.must('up', '--json')
  })
  afterAll(() => practice?.end())

  const stages = async (): Promise<Record<string, string>> => {
    const { events } = await practice.expect('status')
    const { services } = events[0] as unknown as { services: { name: string; stage: string }[] }
    return Object.fromEntries(services.map(({ name, stage }) => [name, stage]))
  }
  const moved = ({ events }: Ended): string[] =>
    ((events.at(-1)?.services ?? []) as { service: string }[]).map(({ service }) => service)
  const orders = async (host: string): Promise<string> => practice.shell(host, 'cat /srv/app/orders')

  test('--gate stops after a wave with exit 6, and the next run goes on', async () => {
    const { stderr } = await practice.expect('advance --all --gate', 6)
    expect(stderr).toContain('wave 1 has moved; wave 2 waits')
    expect(await stages()).toEqual({ first: 'moved', fragile: 'forwarding', second: 'forwarding', app: 'forwarding' })
  })

  test('one that fails within the budget doesn’t keep its wave, but the next one', async () => {
    await practice.shell('old1', 'touch /run/fragile')
    const { stderr } = await practice.expect('advance --all --parallel 2 --max-failures 1', 3)
    expect(stderr).toContain('fragile stays on old1')
    expect(await stages()).toEqual({ first: 'moved', fragile: 'forwarding', second: 'moved', app: 'forwarding' })
  })

  test('--wave moves what is left of one', async () => {
    await practice.shell('old1', 'rm /run/fragile')
    expect(moved(await practice.expect('advance --wave 2'))).toEqual(['fragile'])
    expect(await stages()).toEqual({ first: 'moved', fragile: 'moved', second: 'moved', app: 'forwarding' })
  })

  test('recreate: a start that fails on the new host: it runs on the old one again, exit 3, and nobody was refused', async () => {
    await practice.shell('new1', 'touch /run/broken')
    const load = await practice.load('client1', { targets: [old4, new4, old6, new6], perSecond: 20, patience: 4 })
    const { stderr } = await practice.expect('advance app', 3)
    expect(stderr).toMatch(/app stays on old1: start of app failed/)
    const reports = await load.stop()
    expect(complaints(reports)).toEqual([])
    expect(Object.keys(answeredBy(reports))).toEqual(['old1'])
    expect(await stages()).toMatchObject({ app: 'forwarding' })
    expect(await practice.shell('new1', 'pgrep -x nginx || echo none')).toBe('none\n')
  })

  test('recreate: one that starts and never answers is given up while clients are still held', async () => {
    const { app } = fleet.services
    await practice.fleet({ ...fleet, services: { ...fleet.services, app: { ...app, hold: '8s' } } })
    await practice.shell('new1', 'rm /run/broken && touch /run/deaf')
    const load = await practice.load('client1', { targets: [old4, new4, old6, new6], perSecond: 20, patience: 4 })
    const { stderr } = await practice.expect('advance app', 3)
    const waited = /app stays on old1: app isn't healthy within ([\d.]+) s/.exec(stderr)?.[1]
    expect(Number(waited)).toBeLessThan(8)
    const reports = await load.stop()
    expect(complaints(reports)).toEqual([])
    expect(Object.keys(answeredBy(reports))).toEqual(['old1'])
    expect(await stages()).toMatchObject({ app: 'forwarding' })
    await practice.shell('new1', 'rm /run/deaf && touch /run/broken')
    await practice.fleet(fleet)
  })

  test('recreate: one that has written before it failed is not run without that; rollback brings it home', async () => {
    await practice.shell('new1', 'touch /run/writes')
    const load = await practice.load('client1', { targets: [old4, new6], perSecond: 20, patience: 4 })
    const { stderr } = await practice.expect('advance app', 1)
    expect(stderr).toContain('app has written data on new1 since the copy (1 entry, e.g. orders in /srv/app)')
    // It answers nowhere now.
    await practice.must('rollback', 'app', '--json')
    expect(await orders('old1')).toBe('first\nearly\n')
    const reports = await load.stop()
    // Those who come meanwhile wait, as long as they like; nobody was refused, and nobody cut off.
    const errors = reports.flatMap((report) => Object.keys(report.errors))
    expect(errors.filter((error) => error !== 'no connection' && error !== 'no answer')).toEqual([])
    expect(Object.keys(answeredBy(reports))).toEqual(['old1'])
  })

  test('recreate: there, and back with what was written meanwhile', async () => {
    await practice.shell('new1', 'rm /run/broken /run/writes')
    const load = await practice.load('client1', { targets: [old4, new4, old6, new6], perSecond: 20, patience: 4 })
    await practice.must('advance', 'app', '--json')
    expect(await orders('new1')).toBe('first\nearly\n')
    await practice.shell('new1', 'echo second >>/srv/app/orders')
    await practice.must('rollback', 'app', '--json')
    expect(await orders('old1')).toBe('first\nearly\nsecond\n')
    const reports = await load.stop()
    expect(complaints(reports)).toEqual([])
    expect(Object.keys(answeredBy(reports)).sort()).toEqual(['new1', 'old1'])
  })
})
