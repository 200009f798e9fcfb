/** What `plan` tells of one host: its facts in words, its clock, and what is worth a thought. */
import type { HostFacts } from '../proto/model/facts.js'
import { clockOffset } from './clock-offset.js'
import { decidingFacts } from './plan/deciding-facts.js'
import type { AgentStanding, PlannedHost } from './plan/fleet-plan.js'
import { queueMeans } from './plan/queue-means.js'
import type { Site } from './site.js'

/** Receipts, logs and reports of two hosts are put in one order; certificates hold from a minute before they are made. */
const clockToleranceMs = 5000
/** Beyond that the table fills up at the next rush, and the kernel drops openings. */
const conntrackShare = 0.75

/** @param generation the newest that the host has taken; 0: none */
export async function describeHost(
  site: Site,
  { vantage, agent, generation }: Pick<PlannedHost, 'vantage' | 'generation'> & { agent: AgentStanding },
): Promise<PlannedHost> {
  const { facts } = site
  const clock = await clockOffset(site)
  const described = {
    name: site.name,
    vantage,
    os: facts.os.name || facts.os.id || facts.system,
    kernel: `${facts.system} ${facts.kernel.release} ${facts.arch}`,
    systemd: facts.systemd,
    tools: Object.fromEntries(Object.entries(facts.tools).map(([name, { version }]) => [name, version])),
    features: featuresOf(facts),
    clock,
    conntrack: facts.conntrack ?? null,
    diskKib: diskOf(facts),
    agent,
    firewalls: firewallsOf(facts),
    generation,
    deciding: decidingFacts(facts, agent),
  }
  return { ...described, warnings: warningsOf(described) }
}

export function standingOf(facts: HostFacts, runsExpected: boolean): AgentStanding {
  if (runsExpected) return 'runs'
  const { directory, socket, runningAgent } = facts.installed
  if (socket && runningAgent !== '') return 'another version runs'
  return directory ? 'stopped' : 'none'
}

function featuresOf(facts: HostFacts): Record<string, string> {
  const queue = queueMeans(facts)
  return {
    WireGuard: facts.wireguard.available,
    VXLAN: facts.vxlan.available,
    tun: facts.tun.available,
    'packet queue':
      queue === 'drop' ? 'no' : queue === 'unknown' ? queue : queue === 'nft-queue' ? 'yes' : 'by iptables',
  }
}

const diskOf = ({ disk }: HostFacts): Record<string, number> => ({
  ...(disk.usrLocalKib === undefined ? {} : { '/usr/local': disk.usrLocalKib }),
  ...(disk.varLibKib === undefined ? {} : { '/var/lib': disk.varLibKib }),
})

const firewallsOf = ({ policyDrops }: HostFacts): string[] =>
  policyDrops.map((chain) => `${chain} drops what no rule lets in`)

function warningsOf({ clock, conntrack }: Pick<PlannedHost, 'clock' | 'conntrack'>): string[] {
  const warnings: string[] = []
  if (clock && Math.abs(clock.offsetMs) - clock.errorMs > clockToleranceMs)
    warnings.push(
      `its clock is ${Math.abs(clock.offsetMs / 1000).toFixed(0)} s ${clock.offsetMs > 0 ? 'ahead of' : 'behind'} this machine's: let NTP set it, or reports will put things in the wrong order`,
    )
  if (conntrack && conntrack.count > conntrackShare * conntrack.max)
    warnings.push(
      `its connection tracking table is nearly full (${conntrack.count} of ${conntrack.max}): sysctl -w net.netfilter.nf_conntrack_max=${conntrack.max * 4}`,
    )
  return warnings
}
