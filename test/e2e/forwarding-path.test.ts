/** Ways that aren't plain: narrow paths, hairpins, strangers' packets, a tunnel that fails. */
import { type Call, Practice, until, withRoot } from './practice.js'

jest.setTimeout(300_000)

const old4 = '203.0.113.10'
const old6 = '2001:db8:a::10'
const new4 = '198.51.100.10'
const new6 = '2001:db8:b::10'
const port = 7001

const fleet = {
  fleet: 'paths',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: { echo: { from: 'old1', to: 'new1', listen: [`tcp/${port}`, `udp/${port}`], drain: '1s' } },
}

const strict = 'sysctl -n net.ipv4.conf.all.rp_filter net.ipv4.conf.eth0.rp_filter'

withRoot('forwarding by ways that are not plain', () => {
  let practice: Practice

  beforeAll(async () => {
    practice = await Practice.start('path')
    for (const host of ['old1', 'new1']) await practice.serve(host, host, [`tcp :: ${port}`, `udp :: ${port}`])
    await practice.fleet(fleet)
  })
  afterAll(() => practice?.end())

  const router = (script: string): Promise<string> => practice.shell('router', script)

  describe('a path of 1,400 bytes between the hosts', () => {
    /** Only between the two hosts: clients' own ways to them stay as they are. */
    beforeAll(() =>
      router(`
ip route add 198.51.100.0/24 dev new mtu lock 1400 table 100
ip route add 203.0.113.0/24 dev old mtu lock 1400 table 100
ip rule add from 203.0.113.0/24 to 198.51.100.0/24 lookup 100
ip rule add from 198.51.100.0/24 to 203.0.113.0/24 lookup 100
nft add table inet narrow
nft add chain inet narrow quiet '{ type filter hook output priority 0; }'`),
    )
    afterAll(() =>
      router('ip rule del lookup 100; ip rule del lookup 100; ip route flush table 100; nft delete table inet narrow'),
    )

    const large = async (): Promise<void> => {
      const calls = [new4, new6].flatMap((address): Call[] => [
        { protocol: 'tcp', address, port, bytes: 3_000_000, timeoutMs: 30_000 },
        { protocol: 'udp', address, port, bytes: 2500 },
        { protocol: 'udp', address, port, bytes: 8000 },
      ])
      const answers = await practice.ask('client1', calls)
      expect(answers.map(({ host, echoed, error }) => ({ host, echoed, error }))).toEqual(
        calls.map(() => ({ host: 'old1', echoed: true })),
      )
    }

    // First the one that must be found by trying: hosts remember what a router once told them.
    test.each([
      ['when ICMP is dropped', 'nft add rule inet narrow quiet icmp type destination-unreachable drop'],
      ['when the router says so', 'nft flush chain inet narrow quiet'],
    ])('is measured by up, and large transfers pass, %s', async (_how, rule) => {
      await router(rule)
      const up = await practice.must('up', '-v')
      expect(up.stderr).toMatch(/path on UDP port 51820: MTU 1400/)
      // 60 bytes of WireGuard over IPv4.
      expect(await practice.shell('new1', 'cat /sys/class/net/fm1/mtu')).toBe('1340\n')
      await large()
      await practice.must('down')
    })
  })

  describe('between two hosts that forward', () => {
    beforeAll(async () => {
      await practice.must('up')
    })

    /** One call from a host without Node: what the server said. bash's own `read` tears datagrams. */
    const call = async (host: string, protocol: string, address: string): Promise<string> =>
      (
        await practice.shell(
          host,
          `exec 3<>/dev/${protocol}/${address}/${port}; echo hi >&3; timeout 5 dd bs=2048 count=1 status=none <&3`,
        )
      ).trim()

    async function hairpins(forwarder: string, peer: string, forwarded: string[]): Promise<void> {
      for (const address of forwarded) {
        for (const protocol of ['tcp', 'udp']) {
          // The peer can't take a packet with its own address as the source: it sees the forwarder's.
          const fromPeer = new RegExp(`^${peer} ${address} `)
          const answer = await call(peer, protocol, address)
          expect(answer).toMatch(fromPeer)
          // A process of the forwarder reaches the service like everybody else, with its own address.
          expect(await call(forwarder, protocol, address)).toMatch(new RegExp(`^${peer} ${address} `))
        }
      }
    }

    test('both hosts are clients of the new address, too', () => hairpins('new1', 'old1', [new4, new6]))

    test('uplinks stay strict, and what is not ours is not forwarded', async () => {
      for (const host of ['old1', 'new1']) expect(await practice.shell(host, strict)).toBe('1\n1\n')
      // A stranger on the new host's own network, who takes it for a router.
      const child = practice.spawn('router', ['unshare', '-n', 'bash', '-c', 'echo "pid $$"; exec sleep 60'])
      const pid = await new Promise<string>((resolve) =>
        child.stdout?.on('data', (chunk: Buffer) => resolve(/pid (\d+)/.exec(chunk.toString())![1]!)),
      )
      await router(`ip link add stranger type veth peer name eth0 netns ${pid} && ip link set stranger master new up`)
      const stranger = (script: string) =>
        practice.lab.exec('router', ['nsenter', '-n', '-t', pid, 'bash', '-c', script])
      await stranger(`ip link set lo up; ip addr add 198.51.100.66/24 dev eth0; ip addr add 2001:db8:b::66/64 dev eth0 nodad
ip link set eth0 up; ip route add default via ${new4}; ip route add default via ${new6}`)
      const reaches = async (address: string): Promise<boolean> =>
        (await stranger(`ping -n -c1 -W1 ${address}`)).code === 0
      expect(await reaches(new4)).toBe(true)
      expect(await reaches('198.18.0.12')).toBe(false)
      expect(await reaches('2001:db8:c::12')).toBe(false)
      // It is our guard that keeps them out: forwarding itself is open.
      await practice.shell('new1', 'nft insert rule inet fleetmove guard-forward accept')
      expect(await reaches('198.18.0.12')).toBe(true)
      expect(await reaches('2001:db8:c::12')).toBe(true)
      await practice.shell(
        'new1',
        `nft delete rule inet fleetmove guard-forward handle $(nft -a list chain inet fleetmove guard-forward | sed -n 's/^[[:space:]]*accept # handle //p')`,
      )
      child.kill()
    })

    test.each(['new1', 'old1'])('while the tunnel on %s is down, clients wait and are not refused', async (host) => {
      // The agent must not mend it alone before anybody has seen it down.
      await practice.shell(host, 'kill -STOP $(cat /run/fleetmove/agent.pid); pkill -x -f "wireguard-go -f fm1"')
      await until('the device to go', async () => !(await practice.shell(host, 'ip -br link')).includes('fm1'))
      const calls = [new4, new6].map((address): Call => ({ protocol: 'tcp', address, port, timeoutMs: 30_000 }))
      let settled = false
      const answers = practice.ask('client1', calls).finally(() => {
        settled = true
      })
      // Until the client has sent its SYN a second time.
      // ss: timer:(on,TIME,RETRANSMITS)
      const again = `ss -Htno state syn-sent dport = :${port}`
      await until('SYNs to be sent again', async () => /,[1-9]\d*\)/.test(await practice.shell('client1', again)))
      expect(settled).toBe(false)
      await practice.shell(host, 'kill -CONT $(cat /run/fleetmove/agent.pid)')
      await practice.must('up')
      expect((await answers).map(({ host, error }) => ({ host, error }))).toEqual(calls.map(() => ({ host: 'old1' })))
    })

    test('after advance both hosts are clients of the old address', async () => {
      await practice.must('advance', 'echo')
      await hairpins('old1', 'new1', [old4, old6])
    })
  })
})
