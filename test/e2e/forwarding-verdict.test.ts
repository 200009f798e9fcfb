/** What verify says of real faults between the client and the service: the kind, the cause, the host's name. */
import { type Ended, Practice, withRoot } from './practice.js'

jest.setTimeout(300_000)

const old4 = '203.0.113.10'
const new4 = '198.51.100.10'
const port = 7001
/** Forwarded, and never forwarded. */
const probe = { forwarded: 52820, straight: 52821 }

interface Proof {
  what: 'probe' | 'listener'
  address: string
  port: number
  bytes: number
  verdict: { kind: string; cause: string }
}

withRoot('verdicts', () => {
  let practice: Practice

  beforeAll(async () => {
    practice = await Practice.start('verdict')
    for (const host of ['old1', 'new1']) await practice.serve(host, host, [`tcp 0.0.0.0 ${port}`])
    await practice.fleet({
      fleet: 'verdicts',
      hosts: {
        old1: { ssh: `root@${old4}`, addresses: [old4] },
        new1: { ssh: `root@${new4}`, addresses: [new4] },
      },
      services: { echo: { from: 'old1', to: 'new1', listen: [`tcp/${port}`] } },
    })
    await practice.must('up')
  })
  afterAll(() => practice?.end())

  /** Verifies while a table `fault` with these chains stands on a host. */
  async function verifyWith(host: string, chains: string): Promise<{ run: Ended; proofs: Proof[] }> {
    await practice.shell(host, `nft -f - <<'END'\ntable inet fault {\n${chains}\n}\nEND`)
    try {
      const run = await practice.fleetmove('verify', '--json')
      return { run, proofs: run.events.at(-1)!.proofs as Proof[] }
    } finally {
      await practice.shell(host, 'nft delete table inet fault')
    }
  }
  const kinds = (proofs: Proof[]): string[] =>
    proofs.map(({ what, address, port, bytes, verdict }) => `${what} ${address}:${port} ${bytes} ${verdict.kind}`)
  const forward = (rule: string): string => `chain c { type filter hook forward priority -10; ${rule} }`

  afterEach(async () => {
    // Nothing of a fault stays, or the next test would judge this one's.
    expect((await practice.fleetmove('verify')).code).toBe(0)
  })

  test('a masquerade rule on the forwarder is named, with the host', async () => {
    const { run, proofs } = await verifyWith(
      'new1',
      'chain c { type nat hook postrouting priority srcnat; oifname "fm1" masquerade; }',
    )
    expect(run.code).toBe(5)
    expect(kinds(proofs)).toEqual([
      `probe ${new4}:${probe.forwarded} 64 masqueraded`,
      `probe ${new4}:${probe.forwarded} 2200 masqueraded`,
      `listener ${new4}:${port} 0 masqueraded`,
      `listener ${old4}:${port} 0 preserved`,
    ])
    expect(proofs[0]!.verdict.cause).toMatch(
      /old1 saw 169\.254\.\d+\.\d+ instead of 198\.18\.0\.10: a masquerade or SNAT rule on new1/,
    )
    expect(proofs[2]!.verdict.cause).toMatch(/masquerade rule or a proxy on new1/)
  })

  test('without --json, too, it ends with 5 and names them', async () => {
    await practice.shell(
      'new1',
      `nft 'add table inet fault; add chain inet fault c { type nat hook postrouting priority srcnat; }; add rule inet fault c oifname "fm1" masquerade'`,
    )
    const run = await practice.fleetmove('verify')
    await practice.shell('new1', 'nft delete table inet fault')
    expect(run.code).toBe(5)
    expect(run.stdout).toMatch(/^masqueraded .*new1/m)
    expect(run.stdout).toMatch(/3 proofs failed: 1 of 4 proofs/)
  })

  test('a probe port that the forwarder drops is unreachable, since straight it answers', async () => {
    const { run, proofs } = await verifyWith('new1', forward(`tcp dport ${probe.forwarded} drop;`))
    expect(run.code).toBe(5)
    expect(kinds(proofs).slice(0, 2)).toEqual([
      `probe ${new4}:${probe.forwarded} 64 unreachable`,
      `probe ${new4}:${probe.forwarded} 2200 unreachable`,
    ])
    expect(proofs[0]!.verdict.cause).toMatch(/nothing arrived at old1, which answers straight: .*a firewall on new1/)
  })

  test("the service's own port, dropped on the forwarder", async () => {
    const { run, proofs } = await verifyWith('new1', forward(`tcp dport ${port} drop;`))
    expect(run.code).toBe(5)
    expect(kinds(proofs)).toEqual([
      `probe ${new4}:${probe.forwarded} 64 preserved`,
      `probe ${new4}:${probe.forwarded} 2200 preserved`,
      `listener ${new4}:${port} 0 unreachable`,
      `listener ${old4}:${port} 0 preserved`,
    ])
    expect(proofs[2]!.verdict.cause).toMatch(/did not answer .*firewall on new1/)
  })

  test.each([
    ['to the origin', 'iifname "eth0" oifname "fm1"', /lost on the way/],
    ['back', 'iifname "fm1" oifname "eth0"', /lost on the way back/],
  ])('large packets that are lost on the way %s are told from small ones that pass', async (_way, where, cause) => {
    const { run, proofs } = await verifyWith('new1', forward(`${where} meta length > 600 drop;`))
    expect(run.code).toBe(5)
    expect(kinds(proofs)).toEqual([
      `probe ${new4}:${probe.forwarded} 64 preserved`,
      `probe ${new4}:${probe.forwarded} 2200 truncated`,
      `listener ${new4}:${port} 0 preserved`,
      `listener ${old4}:${port} 0 preserved`,
    ])
    expect(proofs[1]!.verdict.cause).toMatch(cause)
  })

  describe("a provider's firewall that lets through the service's port and the tunnel's only", () => {
    const provider = (mute: string): string =>
      forward(
        `ct state established,related accept; udp dport 51820 accept; tcp dport { 22, ${port} } accept; ip daddr { ${old4}, ${new4} } ${mute};`,
      )

    test.each(['drop', 'reject with tcp reset'])('(%s): the service itself is the proof', async (mute) => {
      // tcp reset needs TCP.
      const { run, proofs } = await verifyWith('router', provider(mute === 'drop' ? mute : `meta l4proto tcp ${mute}`))
      expect(run.code).toBe(0)
      expect(kinds(proofs)).toEqual([
        `probe ${new4}:${probe.forwarded} 64 untested`,
        `listener ${new4}:${port} 0 preserved`,
        `listener ${old4}:${port} 0 preserved`,
      ])
      expect(proofs[0]!.verdict.cause).toMatch(/probe tcp ports 52820 and 52821 are filtered.*old1.*new1/)
    })

    test('a service that is not reached fails all the same', async () => {
      const { run, proofs } = await verifyWith(
        'router',
        `${provider('drop')}\nchain d { type filter hook forward priority -20; ip daddr ${new4} tcp dport ${port} drop; }`,
      )
      expect(run.code).toBe(5)
      expect(kinds(proofs)).toEqual([
        `probe ${new4}:${probe.forwarded} 64 unreachable`,
        `listener ${new4}:${port} 0 unreachable`,
        `listener ${old4}:${port} 0 preserved`,
      ])
    })
  })
})
