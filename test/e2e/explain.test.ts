/** `fleetmove explain`: what really stops a client is named, and whose rule it is. */
import type { Explanation, Journey } from '../../controller/explain.js'
import { endPractices, type Practice, startPractice, withRoot } from './practice.js'

jest.setTimeout(300_000)
afterAll(endPractices)

withRoot('explain', () => {
  let practice: Practice
  beforeAll(async () => {
    practice = await startPractice(`explain-${process.pid}`)
    await practice.expect('up')
  })
  afterAll(() => practice.end())

  const explained = async (words: string): Promise<Record<string, Journey>> => {
    const { events } = await practice.expect(`explain ${words}`)
    const { journeys } = events.at(-1) as unknown as Explanation
    return Object.fromEntries(journeys.map((journey) => [journey.ingress, journey]))
  }
  /** What it says while `script` is in force on a host. */
  const under = async (host: string, script: string, undo: string, words: string): Promise<Record<string, Journey>> => {
    await practice.shell(host, script)
    try {
      return await explained(words)
    } finally {
      await practice.shell(host, undo)
    }
  }

  test('a way that is free, from a vantage and by its address, over both families', async () => {
    for (const client of ['client1', '198.18.0.11', '[2001:db8:c::12]']) {
      const { old1, new1 } = await explained(`${client} web`)
      for (const journey of [old1!, new1!]) expect(journey.verdict).toMatchObject({ ok: true })
      expect(new1!.legs.map(({ host, direction, in: from, out, end }) => [host, direction, from, out, end])).toEqual([
        ['new1', 'request', 'eth0', 'fm1', 'sent'],
        ['old1', 'request', 'fm1', null, 'delivered'],
        ['old1', 'reply', null, 'fm1', 'sent'],
        ['new1', 'reply', 'fm1', 'eth0', 'sent'],
      ])
      expect(old1!.legs).toHaveLength(2)
    }
    // It leaves nothing behind.
    expect(await practice.shell('new1', 'nft list tables')).toBe('table inet fleetmove\n')
    const text = await practice.must('explain', 'client1', 'web')
    expect(text.stdout).toMatch(/✓ by 198\.51\.100\.10 \(new1\): it passes both ways, and old1 answers/)
    expect(text.stdout).toMatch(/→ old1 +in fm1 → this host +198\.18\.0\.11 \d+ → 203\.0\.113\.10 80/)
  })

  test('a rule of the host that answers', async () => {
    const rule = 'INPUT -p tcp --dport 80 -j DROP'
    const { new1 } = await under('old1', `iptables -I ${rule}`, `iptables -D ${rule}`, 'client1 web')
    expect(new1!.verdict).toMatchObject({ ok: false })
    expect(new1!.verdict.text).toMatch(
      /^old1 drops it: the rule "tcp dport 80 .*drop" in chain INPUT \(iptables -t filter\)$/,
    )
  })

  test('a route that the reverse path filter wants otherwise: no rule, but the kernel', async () => {
    const filter = '/proc/sys/net/ipv4/conf'
    // The agent puts its own setting back within a second; by then the packets are through.
    const { old1, new1 } = await under(
      'old1',
      `ip route add blackhole 198.18.0.11 && echo 1 >${filter}/all/rp_filter`,
      `ip route del blackhole 198.18.0.11; echo 0 >${filter}/all/rp_filter`,
      'client1 web',
    )
    expect(old1!.verdict.text).toMatch(/^old1 loses it after prerouting, though no rule/)
    expect(new1!.verdict.ok).toBe(false)
  })

  // nginx ends a moment after it was told to, and takes connections until then.
  const stopped = 'nginx -s stop; while pgrep -x nginx >/dev/null; do sleep 0.05; done'
  test('a service that is down, and a client that sends nothing', async () => {
    const { old1 } = await under('old1', stopped, 'nginx', 'client2 web')
    expect(old1!.verdict.text).toMatch(/^old1 refused it: nobody listens there/)
    const { new1 } = await explained('198.18.0.99 web --wait 1s')
    expect(new1!.verdict.text).toBe('nothing of 198.18.0.99 arrived at new1')
  })

  test('packets that a client sends by itself', async () => {
    await practice.shell('client1', 'ip addr add 198.18.0.77/24 dev eth0')
    const calls = practice.spawn('client1', [
      'bash',
      '-c',
      'for i in $(seq 60); do curl -s --interface 198.18.0.77 --max-time 1 -o /dev/null http://198.51.100.10/ http://203.0.113.10/; sleep 0.2; done',
    ])
    const { old1, new1 } = await explained('198.18.0.77 web')
    calls.kill('SIGKILL')
    expect(new1!.sent).toBe('packets that 198.18.0.77 sent itself')
    expect([new1!.verdict.ok, old1!.verdict.ok]).toEqual([true, true])
  })

  test('bad words change nothing', async () => {
    expect((await practice.expect('explain nobody web', 64)).stderr).toMatch(
      /neither an address nor a vantage[\s\S]*client1/,
    )
    expect((await practice.expect('explain client1 web --listener tcp/81', 64)).stderr).toMatch(
      /no listener tcp\/81[\s\S]*tcp\/80/,
    )
  })
})
