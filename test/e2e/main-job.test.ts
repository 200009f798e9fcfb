/** The main job over every tunnel, under load: nothing fails, every source address survives, nothing is left. */
import { answeredBy, complaints } from '../load/client-load.js'
import { shortened, whenLong } from './long.js'
import { addressesOf, endPractices, type Practice, startPractice, until, withRoot } from './practice.js'

jest.setTimeout(300_000)
afterAll(endPractices)

const both = [...addressesOf('old1'), ...addressesOf('new1')]

/** A plain link between old1 and new1, as a provider's private network would be: VXLAN between their addresses. */
async function makeLink(practice: Practice): Promise<void> {
  const [old4, new4] = [addressesOf('old1')[0], addressesOf('new1')[0]]
  for (const [host, local, remote, own] of [
    ['old1', old4, new4, '10.9.0.1'],
    ['new1', new4, old4, '10.9.0.2'],
  ])
    await practice.shell(
      host!,
      `ip link add plain0 type vxlan id 9 local ${local} remote ${remote} dstport 4790
       ip link set plain0 up mtu 1400
       ip addr add ${own}/30 dev plain0`,
    )
  // An IPv6 link-local address is tentative for a second.
  for (const host of ['old1', 'new1'])
    await until(
      'the link',
      async () => !(await practice.shell(host, 'ip -6 addr show dev plain0')).includes('tentative'),
    )
}

async function choose(practice: Practice, driver: string): Promise<void> {
  await practice.shell('controller', `sed -i 's/driver: auto/driver: ${driver}/' /root/fleet.yaml`)
  if (driver !== 'direct') return
  await practice.shell(
    'controller',
    `sed -i -e 's/^  old1:$/&\\n    direct: 10.9.0.1/' -e 's/^  new1:$/&\\n    direct: 10.9.0.2/' /root/fleet.yaml`,
  )
}

/** Nothing was to do: no host was changed, and no step was told of. */
async function doesNothing(practice: Practice, words: string): Promise<void> {
  const { events } = await practice.expect(`${words} -v`)
  expect(events.filter((event) => event.type === 'detail' || event.type === 'note')).toEqual([])
}

const drivers = ['openvpn', 'wireguard-l2', 'wireguard', 'direct', 'auto'] as const

// The scenarios' main job has `auto`, which is wireguard-l2 where there is WireGuard.
describe.each(shortened(drivers, ['openvpn', 'wireguard', 'direct'] as const, 'drivers'))('driver %s', (driver) => {
  withRoot('a whole move', () => {
    let practice: Practice
    beforeAll(async () => {
      // `direct` uses a link that is there before us, so it must be there afterwards too.
      practice = await startPractice(`main-${driver}-${process.pid}`, driver === 'direct' ? makeLink : undefined)
      await choose(practice, driver)
    })
    afterAll(() => practice.end())

    test('up, verify, advance, finalize under load', async () => {
      const early = await practice.load('client1', { targets: addressesOf('old1'), perSecond: 40 })
      const up = await practice.expect('up')
      expect(up.events.at(-1)?.type).toBe('result')
      await doesNothing(practice, 'up')
      const verified = await practice.expect('verify')
      const { proofs } = verified.events.at(-1) as unknown as { proofs: { verdict: { kind: string } }[] }
      expect(proofs).toHaveLength(24)
      expect(proofs.filter((proof) => proof.verdict.kind !== 'preserved')).toEqual([])

      const old = await practice.load('client1', {
        targets: addressesOf('old1'),
        perSecond: 40,
        keepAlive: 3,
        downloads: 2,
      })
      const renewed = await practice.load('client2', {
        targets: addressesOf('new1'),
        perSecond: 40,
        keepAlive: 3,
        downloads: 2,
      })
      const advanced = await practice.expect('advance --all', 0, {
        onEvent: ({ type, what }) => {
          if (type !== 'begin' || what !== 'drain on old1') return
          // They have lived across the switch on both sides.
          old.endLong()
          renewed.endLong()
        },
      })
      expect(advanced.events.at(-1)).toMatchObject({
        type: 'result',
        services: [{ service: 'web', active: 'new1', undrained: 0 }],
      })
      await doesNothing(practice, 'advance --all')
      const reports = [...(await early.stop()), ...(await old.stop())]
      expect(complaints(reports)).toEqual([])
      expect(Object.keys(answeredBy(reports)).sort()).toEqual(['new1', 'old1'])

      // Clients of the old address are gone; those of the new one go on through the clean-up.
      const quiet = await practice.load('client2', {
        targets: addressesOf('new1'),
        perSecond: 40,
        keepAlive: 3,
        downloads: 2,
      })
      await untilFinalized(practice)
      const last = [...(await renewed.stop()), ...(await quiet.stop())]
      expect(complaints(last)).toEqual([])
      expect(Object.keys(answeredBy(last)).sort()).toEqual(['new1', 'old1'])
      expect(await practice.leftovers()).toEqual([])
      const status = await practice.expect('status')
      expect(status.events[0]).toMatchObject({
        services: [{ stage: 'finalized', active: 'new1' }],
        absent: ['old1', 'new1'],
      })
    })
  })
})

/** As an operator would, who waits while the gate is closed. */
async function untilFinalized(practice: Practice): Promise<void> {
  await until('the gate of finalize', async () => {
    const { code, events, stderr } = await practice.run('finalize --quiet 1s')
    if (code !== 0 && code !== 6) throw new Error(`finalize: exit code ${code}\n${stderr}${JSON.stringify(events)}`)
    return code === 0
  })
}

withRoot('ways back', () => {
  let practice: Practice
  beforeAll(async () => {
    practice = await startPractice(`back-${process.pid}`)
    // These are about the hosts; two more uploads would only take time.
    await practice.shell('controller', "sed -i '/^vantages:/,$d' /root/fleet.yaml")
  })
  afterAll(() => practice.end())

  const long = whenLong(test, 'down, from forwarding and from moved: the kill tests go that way, too')
  long('down from forwarding', async () => {
    const load = await practice.load('client1', {
      targets: addressesOf('old1'),
      perSecond: 40,
      keepAlive: 3,
      downloads: 2,
    })
    await practice.expect('up')
    const down = await practice.expect('down')
    expect(down.events.at(-1)).toMatchObject({ type: 'result', returned: [] })
    expect(complaints(await load.stop())).toEqual([])
    expect(await practice.leftovers()).toEqual([])
    const again = await practice.expect('down')
    expect(again.events.at(-1)).toMatchObject({ type: 'result', returned: [] })
    expect(await practice.leftovers()).toEqual([])
  })

  test('advance with a service that is not healthy on new: exit 3, nobody notices, nothing of it is left on new', async () => {
    await practice.expect('up')
    const load = await practice.load('client1', { targets: both, perSecond: 40, keepAlive: 3, downloads: 2 })
    await practice.shell(
      'new1',
      "sed -i.good 's/location = .healthz .*/location = \\/healthz { return 503; }/' /etc/nginx/nginx.conf",
    )
    const { stderr } = await practice.expect('advance --all', 3)
    expect(stderr).toContain("web isn't healthy")
    expect(await practice.shell('new1', 'pgrep -x nginx || echo none')).toBe('none\n')
    // A configuration that can't even be loaded.
    await practice.shell('new1', "sed -i 's/worker_processes/worker_processes_/' /etc/nginx/nginx.conf")
    await practice.expect('advance --all', 3)
    expect(await practice.shell('new1', 'pgrep -x nginx || echo none')).toBe('none\n')
    await practice.shell('new1', 'mv /etc/nginx/nginx.conf.good /etc/nginx/nginx.conf')
    const status = await practice.expect('status')
    expect(status.events[0]).toMatchObject({ services: [{ stage: 'forwarding', active: 'old1' }], drift: [] })
    const report = await load.stop()
    expect(complaints(report)).toEqual([])
    expect(Object.keys(answeredBy(report))).toEqual(['old1'])
  }, 120_000)

  test('rollback after advance, under load', async () => {
    const load = await practice.load('client1', { targets: both, perSecond: 40, keepAlive: 3, downloads: 2 })
    const second = await practice.load('client2', { targets: both, perSecond: 0, keepAlive: 3, downloads: 2 })
    const begins = (host: string, then: () => void) => ({
      onEvent: ({ type, what }: { type: string; what?: unknown }) => {
        if (type === 'begin' && what === `drain on ${host}`) then()
      },
    })
    await practice.expect(
      'advance --all',
      0,
      begins('old1', () => {
        load.endLong()
        second.endLong()
      }),
    )
    const onNew = await practice.load('client2', { targets: both, perSecond: 0, keepAlive: 3, downloads: 2 })
    const back = await practice.expect(
      'rollback web',
      0,
      begins('new1', () => onNew.endLong()),
    )
    expect(back.events.at(-1)).toMatchObject({ services: [{ active: 'old1', undrained: 0 }] })
    const again = await practice.expect('rollback web')
    expect(again.events.at(-1)).toMatchObject({ services: [] })
    const reports = [...(await load.stop()), ...(await second.stop()), ...(await onNew.stop())]
    expect(complaints(reports)).toEqual([])
    expect(Object.keys(answeredBy(reports)).sort()).toEqual(['new1', 'old1'])
  })

  long('down from moved: back on old without a failure, hosts as they were found', async () => {
    const load = await practice.load('client1', { targets: addressesOf('old1'), perSecond: 40 })
    await practice.expect('advance --all')
    const down = await practice.expect('down')
    expect(down.events.at(-1)).toMatchObject({ type: 'result', returned: ['web'] })
    const report = await load.stop()
    expect(complaints(report)).toEqual([])
    expect(Object.keys(answeredBy(report)).sort()).toEqual(['new1', 'old1'])
    expect(await practice.leftovers()).toEqual([])
  })
})
