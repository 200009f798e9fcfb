/** What others on a host use, and firewalls that would drop what we forward, are told before anything is changed. */
import { endPractices, type Practice, startPractice, withRoot } from './practice.js'

jest.setTimeout(300_000)
afterAll(endPractices)

withRoot('a host on which others are at home', () => {
  let practice: Practice
  beforeAll(async () => {
    practice = await startPractice(`conflict-${process.pid}`)
    await practice.shell('controller', `sed -i '/^vantages:/,$d' /root/fleet.yaml`)
  })
  afterAll(() => practice.end())

  const told = async (): Promise<{ host: string; message: string; hint: string }[]> =>
    (await practice.expect('up', 1)).events.filter(({ type }) => type === 'error') as never

  test('up names all of it at once, and touches nothing', async () => {
    await practice.shell(
      'old1',
      `ip rule add priority 5180 from 10.77.0.0/16 lookup 100
       ip -6 rule add fwmark 0x4000000/0xff000000 lookup 101 priority 90
       ip route add blackhole 10.77.0.0/16 table 5181
       ip link add fm1 type veth peer name other
       nft add table inet fleetmove
       iptables -t mangle -A PREROUTING -s 10.77.0.0/16 -j MARK --set-xmark 0x2000000/0xff000000
       (timeout 60 socat -u UDP4-RECV:51820 /dev/null >/dev/null 2>&1 &)
       for i in 1 2 3 4 5 6 7 8 9 10; do ss -Hlun | grep -q :51820 && exit 0; sleep 0.1; done; exit 1`,
    )
    const before = await practice.lab.changedFiles('old1')
    const errors = await told()
    expect(errors.map(({ host }) => host)).toEqual(errors.map(() => 'old1'))
    const all = errors.map(({ message }) => message).join('\n')
    for (const part of [
      'uses the priority 5180',
      'uses a mark in the byte 0xff000000',
      'has a route already: blackhole 10.77.0.0/16',
      'there is a device fm1 already',
      'there is a table inet fleetmove',
      'a firewall rule uses marks',
      'UDP port 51820, which fleetmove needs for the tunnel, is in use by socat',
    ])
      expect(all).toContain(part)
    expect(await practice.lab.changedFiles('old1')).toEqual(before)
    await practice.shell(
      'old1',
      `ip rule del priority 5180; ip -6 rule del priority 90; ip route flush table 5181; ip link del fm1
       nft delete table inet fleetmove; iptables -t mangle -F; pkill -x socat; nft delete table ip mangle`,
    )
  })
})
