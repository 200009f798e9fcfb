/** The controller and the agents die at every moment, under load: the next run goes on, and no client notices. */
import { complaints, type Load } from '../load/client-load.js'
import { shortened } from './long.js'
import { addressesOf, endPractices, type Practice, startPractice, until, withRoot } from './practice.js'

jest.setTimeout(300_000)
afterAll(endPractices)

/** Shares of a command's own duration. */
const all = [0.1, 0.22, 0.35, 0.48, 0.6, 0.72, 0.85, 0.95]
const moments = shortened(
  all,
  all.filter((_, i) => i % 4 === 1),
  'moments',
)

/** Vantages would only make each round longer: nothing is changed on them but files. */
async function withoutVantages(practice: Practice): Promise<void> {
  await practice.shell('controller', "sed -i '/^vantages:/,$d' /root/fleet.yaml")
}

/** From SIGKILL on a controller every connection of its own is gone, and hosts hear of it by TCP alone. */
async function killAfter(practice: Practice, words: string, ms: number): Promise<boolean> {
  const running = practice.start(words)
  const timer = setTimeout(running.kill, ms)
  const { code, stderr } = await running.ended
  clearTimeout(timer)
  if (code === 0) return false
  // Whatever it reports itself is not the death that is meant here.
  if (code !== 128 + 9) throw new Error(`fleetmove ${words}: exit code ${code} and not killed: ${stderr}`)
  return true
}

const stage = async (practice: Practice): Promise<unknown> => {
  const { events } = await practice.expect('status')
  const { services, drift } = events[0] as unknown as {
    services: { stage: string; active: string }[]
    drift: unknown[]
  }
  return { stage: services[0]?.stage, active: services[0]?.active, drift }
}

/** Where a host would have the service after a restart. */
async function confirmedActive(practice: Practice, host: string): Promise<string | undefined> {
  // Below a line with its checksum.
  const { confirmed } = JSON.parse(await practice.shell(host, 'tail -n 1 /var/lib/fleetmove/ledger.json')) as {
    confirmed: { services: { active: string }[] } | null
  }
  return confirmed?.services[0]?.active
}

/** To connections that begin from now on. */
const shutSsh =
  "nft add table inet shut; nft 'add chain inet shut in { type filter hook input priority -300; }'; nft add rule inet shut in tcp dport 22 'tcp flags & (syn | ack) == syn' drop"

withRoot('a controller that is killed', () => {
  let practice: Practice
  /** Of a run that nobody kills, in ms. */
  const lasts = { up: 0, advance: 0, finalize: 0, down: 0 }
  let killed = 0

  beforeAll(async () => {
    practice = await startPractice(`kill-${process.pid}`)
    await withoutVantages(practice)
    // The first upload packs the archives, which no later one has to.
    await practice.expect('up')
    await practice.expect('down')
    const timed = async (name: keyof typeof lasts, words: string): Promise<void> => {
      const begun = performance.now()
      await practice.expect(words)
      lasts[name] = performance.now() - begun
    }
    await timed('up', 'up')
    await timed('down', 'down')
    await practice.expect('up')
    await timed('advance', 'advance --all')
    await until('the gate', async () => (await practice.run('finalize --quiet 100ms')).code === 0)
    // It does what `down` does, without the way to the old host.
    lasts.finalize = lasts.down
    await practice.reset()
  })
  afterAll(() => practice.end())

  test.each(moments)('at %f of up, advance and finalize', async (share) => {
    const old = await practice.load('client1', {
      targets: addressesOf('old1'),
      perSecond: 30,
      keepAlive: 2,
      downloads: 2,
    })
    killed += Number(await killAfter(practice, 'up', share * lasts.up))
    await practice.expect('up')
    expect(await stage(practice)).toEqual({ stage: 'forwarding', active: 'old1', drift: [] })
    const fresh = await practice.load('client2', {
      targets: addressesOf('new1'),
      perSecond: 30,
      keepAlive: 2,
      downloads: 2,
    })

    const endLong = (): void => {
      old.endLong()
      fresh.endLong()
    }
    const running = killAfter(practice, 'advance --all', share * lasts.advance)
    killed += Number(await running)
    await practice.expect('advance --all', 0, {
      onEvent: ({ type, what }) => {
        if (type === 'begin' && what === 'drain on old1') endLong()
      },
    })
    expect(await stage(practice)).toEqual({ stage: 'moved', active: 'new1', drift: [] })
    expect(complaints(await old.stop())).toEqual([])

    killed += Number(await killAfter(practice, 'finalize --quiet 1ms', share * lasts.finalize))
    await finalized(practice)
    expect(complaints(await fresh.stop())).toEqual([])
    expect(await practice.leftovers()).toEqual([])
    await practice.reset()
  })

  // Each has its own half of the moments: by turns from forwarding and from moved.
  test.each(moments.filter((_, i) => i % 4 < 2))('at %f of down, from forwarding or from moved', async (share) => {
    const load = await practice.load('client1', { targets: addressesOf('old1'), perSecond: 30 })
    await practice.expect('up')
    const moved = moments.indexOf(share) % 2 === 1
    if (moved) await practice.expect('advance --all')
    killed += Number(await killAfter(practice, 'down', share * (lasts.down + (moved ? lasts.advance : 0))))
    await practice.expect('down')
    expect(complaints(await load.stop())).toEqual([])
    expect(await practice.leftovers()).toEqual([])
  })

  test('when one host has confirmed the switch and the other has not', async () => {
    await practice.expect('up')
    const targets = [...addressesOf('old1'), ...addressesOf('new1')]
    const load = await practice.load('client1', { targets, perSecond: 30 })
    let shut: Promise<string> | undefined
    const running = practice.start('advance --all', {
      onEvent: ({ type, what }) => {
        // What is connected stays so; confirmations come over new connections.
        if (type === 'begin' && what === 'health on new1') shut = practice.shell('new1', shutSsh)
      },
    })
    await until('old1 to confirm', async () => (await confirmedActive(practice, 'old1')) === 'new1')
    running.kill()
    await running.ended
    await shut
    await practice.shell('new1', 'nft delete table inet shut')
    const { events } = await practice.expect('advance --all')
    expect(events).toContainEqual(
      expect.objectContaining({ text: 'a switch that was confirmed on one host holds on both' }),
    )
    expect(await stage(practice)).toEqual({ stage: 'moved', active: 'new1', drift: [] })
    expect(complaints(await load.stop())).toEqual([])
    await practice.expect('down')
    expect(await practice.leftovers()).toEqual([])
  })

  test('most of these were killed indeed', () => {
    expect(killed).toBeGreaterThan(moments.length * 2)
  })
})

async function finalized(practice: Practice): Promise<void> {
  await until('the gate of finalize', async () => {
    const { code, events, stderr } = await practice.run('finalize --quiet 1ms')
    if (code !== 0 && code !== 6) throw new Error(`finalize: exit code ${code}\n${stderr}${JSON.stringify(events)}`)
    return code === 0
  })
}

withRoot('an agent that is killed', () => {
  let practice: Practice
  beforeAll(async () => {
    practice = await startPractice(`agent-${process.pid}`)
    await withoutVantages(practice)
  })
  afterAll(() => practice.end())

  const kill = (host: string): Promise<string> => practice.shell(host, 'kill -9 $(cat /run/fleetmove/agent.pid)')

  test.each(['old1', 'new1'])(
    'on %s while it forwards: clients notice nothing, status tells, up mends',
    async (host) => {
      await practice.expect('up')
      const targets = [...addressesOf('old1'), ...addressesOf('new1')]
      const before = await practice.load('client1', { targets, perSecond: 40, keepAlive: 2, downloads: 2 })
      await kill(host)
      // New and long ones that begin when no agent is there.
      const without: Load = await practice.load('client2', { targets, perSecond: 40, keepAlive: 2, downloads: 2 })
      const status = await practice.expect('status')
      expect(status.events[0]).toMatchObject({ absent: [host] })
      const up = await practice.expect('up')
      expect(up.events.at(-1)?.type).toBe('result')
      expect(await stage(practice)).toEqual({ stage: 'forwarding', active: 'old1', drift: [] })
      expect(complaints([...(await before.stop()), ...(await without.stop())])).toEqual([])
    },
  )

  test('the hosts are as they were found in the end', async () => {
    await kill('new1')
    await practice.expect('up')
    await practice.expect('down')
    expect(await practice.leftovers()).toEqual([])
  })
})
