/** One operator at a time; and one that comes back from the dead can change nothing. */
import {
  type Ended,
  type Event,
  endPractices,
  main,
  type Practice,
  startPractice,
  until,
  withRoot,
} from './practice.js'

jest.setTimeout(300_000)
afterAll(endPractices)

withRoot('two operators', () => {
  let practice: Practice
  beforeAll(async () => {
    practice = await startPractice(`lock-${process.pid}`)
    await practice.shell('controller', `sed -i '/^vantages:/,$d' /root/fleet.yaml`)
    await practice.expect('up')
  })
  afterAll(() => practice.end())
  // Whatever was left half done.
  afterEach(() => practice.expect('rollback web'))

  const errorOf = ({ events }: Ended): Event => events.find((event) => event.type === 'error')!

  interface Locked {
    host: string
    id: string
    owner: string
    command: string
  }
  const locked = async (): Promise<Locked[]> =>
    ((await practice.expect('status')).events.at(-1) as unknown as { locked: Locked[] }).locked.sort((a, b) =>
      b.host.localeCompare(a.host),
    )

  /** An advance in its canary, which lasts much longer than any test. */
  async function startAdvance(): Promise<ReturnType<Practice['start']>> {
    let begun = false
    const running = practice.start('advance web --canary 5,100 --bake 10m', {
      onEvent: (event) => {
        if (event.type === 'begin' && String(event.what).includes('canary')) begun = true
      },
    })
    let early: Ended | undefined
    void running.ended.then((ended) => {
      early = ended
    })
    await until('the canary', () => {
      if (early) throw new Error(`it ended: ${early.code} ${early.stderr}`)
      return begun
    })
    return running
  }

  /** One that can be stopped: not by a program outside, which would stop with it. */
  async function startHanging(): Promise<void> {
    await practice.shell(
      'controller',
      `cd /root; rm -f first.*
       sh -c 'echo $$ >first.pid; ${process.execPath} ${main} advance web --canary 5,100 --bake 10m --json >first.out 2>&1 & echo $! >first.pid; wait $!; echo $? >first.code' </dev/null >/dev/null 2>&1 &`,
    )
    await until('the canary', async () =>
      (await practice.shell('controller', 'cat /root/first.out || true')).includes('canary'),
    )
    await practice.shell('controller', 'kill -STOP $(cat /root/first.pid)')
  }

  test('the second is refused with exit 4, and told who is at work', async () => {
    const first = await startAdvance()
    expect(await locked()).toEqual([
      expect.objectContaining({ host: 'old1', owner: 'root@controller', command: 'advance web' }),
      expect.objectContaining({ host: 'new1', owner: 'root@controller', command: 'advance web' }),
    ])
    for (const words of ['up', 'advance web', 'rollback web', 'finalize --force', 'down']) {
      const error = errorOf(await practice.expect(words, 4))
      expect(error).toMatchObject({ code: 'locked' })
      expect(error.message).toContain('root@controller runs "fleetmove advance web" since ')
      expect(error.hint).toMatch(/fleetmove unlock [0-9a-f]{12}$/)
    }
    // What only looks isn't in anybody's way.
    await practice.expect('verify')
    first.kill()
    await first.ended
  })

  test('the lock of one that is killed ends with its connections', async () => {
    const first = await startAdvance()
    first.kill()
    await first.ended
    await practice.expect('rollback web')
    expect(await locked()).toEqual([])
  })

  test('the lock of one that hangs is taken away by unlock, and what hung can change nothing any more', async () => {
    await startHanging()
    const error = errorOf(await practice.expect('rollback web', 4))
    const id = /unlock ([0-9a-f]+)$/.exec(String(error.hint))![1]!
    expect(errorOf(await practice.expect('unlock 0123456789ab', 64)).message).toContain(id)
    const { events } = await practice.expect(`unlock ${id}`)
    expect(events.at(-1)).toMatchObject({ hosts: ['new1', 'old1'] })
    await practice.expect('rollback web')
    const { events: before } = await practice.expect('status')
    await practice.shell('controller', 'kill -CONT $(cat /root/first.pid)')
    await until('the first to end', async () => (await practice.shell('controller', 'ls /root')).includes('first.code'))
    expect((await practice.shell('controller', 'cat /root/first.code')).trim()).toBe('4')
    expect(await practice.shell('controller', 'cat /root/first.out')).toContain('has run out or was taken away')
    const stages = (list: Event[]): unknown =>
      (list.at(-1) as unknown as { services: { stage: string; active: string }[] }).services.map(
        ({ stage, active }) => [stage, active],
      )
    const { events: after } = await practice.expect('status')
    expect(stages(after)).toEqual(stages(before))
    expect(stages(after)).toEqual([['forwarding', 'old1']])
  })

  test('the lock of one that hangs runs out by itself', async () => {
    await startHanging()
    const begun = Date.now()
    // 30 s after the last that was heard of it; a busy machine adds its own.
    await until('the lock to run out', async () => (await practice.run('rollback web')).code === 0, 120_000)
    console.log(`the lock ran out after ${((Date.now() - begun) / 1000).toFixed(0)} s`)
    await practice.shell('controller', 'kill -9 $(cat /root/first.pid)')
  })

  test('an agent that dies ends the run, and the lock of that run keeps nobody out', async () => {
    const first = await startAdvance()
    await practice.shell(
      'old1',
      `pid=$(cat /run/fleetmove/agent.pid); words=$(tr '\\0' ' ' <"/proc/$pid/cmdline")
       kill -9 "$pid"; setsid sh -c 'echo $$ >/run/fleetmove/agent.pid; exec "$@"' sh $words >/dev/null 2>&1 &`,
    )
    // Of a bake, which asks the agents all the time.
    expect((await first.ended).code).not.toBe(0)
    await practice.expect('rollback web')
    expect(await locked()).toEqual([])
  })
})
