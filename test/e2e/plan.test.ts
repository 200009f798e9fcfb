/** `plan` tells what `up` will do, changes nothing, and ends with what a script must know. */
import type { FleetPlan } from '../../controller/plan/fleet-plan.js'
import { endPractices, type Practice, startPractice, withRoot } from './practice.js'

jest.setTimeout(300_000)
afterAll(endPractices)

withRoot('fleetmove plan', () => {
  let practice: Practice
  beforeAll(async () => {
    practice = await startPractice(`plan-${process.pid}`)
  })
  afterAll(() => practice.end())

  const plan = async (code: number, words = 'plan'): Promise<FleetPlan> => {
    const { events } = await practice.expect(words, code)
    return events.find(({ type }) => type === 'result') as unknown as FleetPlan
  }
  const stepsOf = ({ phases }: FleetPlan, what: string, host: string): string[] =>
    phases.find((phase) => phase.what === what)?.hosts.find((each) => each.host === host)?.steps ?? []

  test('on bare hosts: exit 2, every step, and the hosts are as they were', async () => {
    const planned = await plan(2)
    expect(await practice.leftovers()).toEqual([])
    expect(planned.problems).toEqual([])
    expect(planned.paths).toMatchObject([{ a: 'new1', b: 'old1', port: 51820, mtu: { aToB: 1500, bToA: 1500 } }])
    expect(planned.hosts.map(({ name, agent }) => [name, agent])).toEqual(
      ['old1', 'new1', 'client1', 'client2'].map((name) => [name, 'none']),
    )
    expect(planned.phases.map(({ what }) => what)).toEqual(['agents', 'tunnels', 'forwarding'])
    expect(stepsOf(planned, 'agents', 'old1').join('\n')).toMatch(/start the agent as a daemon/)
    expect(stepsOf(planned, 'tunnels', 'new1')).toContain('set net.ipv4.conf.eth0.forwarding to 1')
    const [old1] = planned.phases[2]!.hosts
    expect(old1!.ruleset!.planned).toContain('203.0.113.10 . tcp . 80')
  })

  test('a port that is shut and a number that is taken: exit 1, and both are told', async () => {
    await practice.shell(
      'old1',
      `nft add table inet shut; nft 'add chain inet shut in { type filter hook input priority 0; }'
       nft add rule inet shut in udp dport 51820 drop; ip rule add priority 5180 from 10.77.0.0/16 lookup 100`,
    )
    const { events } = await practice.expect('plan', 1)
    const errors = events.filter(({ type }) => type === 'error').map(({ host, message }) => `${host}: ${message}`)
    expect(errors).toEqual([
      expect.stringContaining('old1: an IPv4 routing rule uses the priority 5180'),
      "old1: UDP port 51820 of old1 can't be reached from new1",
    ])
    await practice.shell('old1', 'nft delete table inet shut; ip rule del priority 5180')
    expect(await practice.leftovers()).toEqual([])
  })

  describe('saved', () => {
    const errors = async (code = 1): Promise<string[]> =>
      (await practice.expect('up monday.plan', code)).events
        .filter(({ type }) => type === 'error')
        .map(({ host, message }) => `${host ?? 'here'}: ${message}`)

    beforeAll(async () => void (await plan(2, 'plan -o monday.plan')))

    test('it is refused when facts have changed, with what has, and nothing is touched', async () => {
      await practice.shell('new1', 'ip link set eth0 mtu 1450; sysctl -qw net.ipv4.conf.eth0.forwarding=1')
      expect((await errors()).sort()).toEqual([
        'new1: since the plan was made, this has changed: MTU of eth0 was "1500" and is "1450"',
        'new1: since the plan was made, this has changed: sysctl net.ipv4.conf.eth0.forwarding was "0" and is "1"',
      ])
      await practice.shell('new1', 'ip link set eth0 mtu 1500; sysctl -qw net.ipv4.conf.eth0.forwarding=0')
      expect(await practice.leftovers()).toEqual([])
    })

    test('it is refused when fleet.yaml has changed, or when it is no plan', async () => {
      await practice.shell('controller', 'cp /root/fleet.yaml /root/kept.yaml; echo "# changed" >>/root/fleet.yaml')
      expect(await errors()).toEqual([expect.stringMatching(/^here: .*fleet\.yaml has changed since the plan/)])
      await practice.shell('controller', 'mv /root/kept.yaml /root/fleet.yaml')
      await practice.expect('up fleet.yaml', 64)
    })

    test('it is refused when a path has become narrower', async () => {
      // Nothing on the hosts themselves tells of it.
      const device = (await practice.shell('router', `ip -o route get 198.51.100.10`)).match(/dev (\S+)/)![1]!
      await practice.shell('router', `ip route replace 198.51.100.10 dev ${device} mtu lock 1400`)
      expect(await errors()).toEqual([
        'here: since the plan was made, this has changed: packets that pass on UDP port 51820 were 1500 bytes from new1 to old1 and 1500 back, and are 1500 bytes from new1 to old1 and 1400 back',
      ])
      await practice.shell('router', `ip route del 198.51.100.10 dev ${device}`)
      // What the router said is remembered for ten minutes.
      await practice.shell('old1', 'ip route flush cache')
      expect(await practice.leftovers()).toEqual([])
    })

    test('unchanged, it is done exactly so; and not a second time', async () => {
      await practice.expect('up monday.plan')
      expect((await errors()).join('\n')).toMatch(/agent was "none" and is "runs"/)
    })
  })

  test('after up there is nothing to do: exit 0', async () => {
    const planned = await plan(0)
    expect(planned).toMatchObject({ pending: false, phases: [], problems: [] })
    expect(planned.hosts.map(({ agent }) => agent)).toEqual(Array(4).fill('runs'))
  })

  test('what somebody took away is in the plan, and stays away until up', async () => {
    // The agent would put it back before anybody could look.
    await practice.shell('new1', 'kill -STOP $(cat /run/fleetmove/agent.pid); ip -4 rule del priority 5180; true')
    await practice.shell('new1', 'kill -KILL $(cat /run/fleetmove/agent.pid)')
    const planned = await plan(2)
    expect(planned.unknown).toEqual(['new1'])
    expect(planned.phases.map(({ what, hosts }) => [what, hosts.map(({ host }) => host)])).toEqual([
      ['agents', ['new1']],
    ])
    expect(await practice.shell('new1', 'ip -4 rule')).not.toContain('5180:')
    await practice.expect('up')
    await plan(0)
    await practice.expect('down')
    expect(await practice.leftovers()).toEqual([])
  })

  test('a mistake in fleet.yaml: exit 64', async () => {
    await practice.shell('controller', `sed -i 's/^services:/servces:/' /root/fleet.yaml`)
    await practice.expect('plan', 64)
  })
})
