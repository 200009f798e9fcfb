/** Practice networks of more hosts than the usual one, in pairs: what moves from one moves to the other. */
import { join } from 'node:path'
import type { LabTopology } from '../../cli/lab/topology.js'
import { labTopology } from '../../cli/lab/topology.js'
import { PracticeNetwork } from './practice-network.js'

export interface Pair {
  old: string
  new: string
  oldAddress: string
  newAddress: string
}

export interface PairsNetwork {
  network: PracticeNetwork
  pairs: Pair[]
}

/** Its hosts are old01, new01, …; the usual ones are there too. At most 100 pairs: the subnets hold no more. */
export async function startPairs(name: string, count: number): Promise<PairsNetwork> {
  const pairs = Array.from({ length: count }, (_, at) => ({
    old: `old${number(at)}`,
    new: `new${number(at)}`,
    oldAddress: `203.0.113.${100 + at}`,
    newAddress: `198.51.100.${100 + at}`,
  }))
  const hosts: LabTopology['hosts'] = { ...labTopology.hosts }
  for (const [at, pair] of pairs.entries()) {
    const common = { v6: [], sshd: true }
    hosts[pair.old] = { ...common, role: 'old', subnet: 'old', v4: [pair.oldAddress], web: 'running' }
    hosts[pair.new] = { ...common, role: 'new', subnet: 'new', v4: [pair.newAddress], web: 'stopped' }
    hosts[pair.old]!.v6 = [`2001:db8:a::${100 + at}`]
    hosts[pair.new]!.v6 = [`2001:db8:b::${100 + at}`]
  }
  const usual = labTopology.hosts
  // Everything that makes a network reads this one object.
  labTopology.hosts = hosts
  try {
    return { network: await PracticeNetwork.start(name, process.cwd(), 300_000), pairs }
  } finally {
    labTopology.hosts = usual
  }
}

const number = (at: number): string => String(at + 1).padStart(3, '0')

/** One service a pair, port 80, all in one wave. */
export const pairsFleet = (pairs: readonly Pair[]) => ({
  fleet: 'bench',
  hosts: Object.fromEntries(
    pairs.flatMap((pair) => [
      [pair.old, { ssh: `root@${pair.oldAddress}`, addresses: [pair.oldAddress] }],
      [pair.new, { ssh: `root@${pair.newAddress}`, addresses: [pair.newAddress] }],
    ]),
  ),
  services: Object.fromEntries(
    pairs.map((pair) => [
      `web-${pair.old}`,
      {
        ...{ from: pair.old, to: pair.new, listen: ['tcp/80'], strategy: 'rolling', drain: '1s' },
        run: { start: 'pgrep -x nginx >/dev/null || nginx', stop: '! pgrep -x nginx >/dev/null || nginx -s quit' },
      },
    ]),
  ),
})

export interface Cost {
  seconds: number
  /** Of the command itself. */
  cpuSeconds: number
  mebibytes: number
}

/** What a command costs on the operator's machine. @throws unless it ends with one of these codes */
export async function costOf(network: PracticeNetwork, words: readonly string[], codes = [0]): Promise<Cost> {
  const main = join(process.env.FLEETMOVE_DIST ?? join(process.cwd(), 'dist'), 'cli', 'main.js')
  const begun = performance.now()
  const { code, stderr, stdout } = await network.lab.exec('controller', [process.execPath, main, ...words], {
    timeoutMs: 600_000,
    env: {
      NODE_OPTIONS: `--require ${join(process.cwd(), 'test/bench/usage.cjs')}`,
      BENCH_USAGE: '/root/usage.json',
    },
  })
  const seconds = (performance.now() - begun) / 1000
  if (!codes.includes(code)) throw new Error(`fleetmove ${words.join(' ')}: exit code ${code}: ${stderr}${stdout}`)
  return { seconds, ...JSON.parse(await network.shell('controller', 'cat /root/usage.json')) }
}
