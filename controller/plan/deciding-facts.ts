/**
 * The part of a host's facts that decides what `up` does there, as flat text, so that a difference can be
 * named. What changes by itself (clock, load, free space, containers that come and go) is left away. Pure.
 */
import type { HostFacts } from '../../proto/model/facts.js'
import type { AgentStanding } from './fleet-plan.js'

export function decidingFacts(facts: HostFacts, agent: AgentStanding): Record<string, string> {
  const uplinks = new Set(facts.defaultRoutes.map(({ device }) => device))
  const { kernel, libc, tun, wireguard, vxlan, queue } = facts
  return {
    agent,
    kernel: `${facts.system} ${kernel.release} ${facts.arch}`,
    libc: `${libc.kind} ${libc.version}`,
    'user id': String(facts.uid),
    systemd: String(facts.systemd),
    ...named(
      'tool',
      Object.entries(facts.tools).map(([name, tool]) => [name, `${tool.path} ${tool.version}`]),
    ),
    ...named(
      'feature',
      Object.entries({
        tun,
        wireguard,
        vxlan,
        'nft queue': queue.nft,
        'xtables queue': queue.xtables,
        ...facts.nft,
      }).map(([name, { available }]) => [name, available]),
    ),
    'addresses of the uplinks': facts.addresses
      .filter(({ device, scope }) => uplinks.has(device) && scope === 'global')
      .map(({ device, address, prefix }) => `${address}/${prefix} on ${device}`)
      .sort()
      .join(', '),
    'default routes': facts.defaultRoutes
      .map(({ device, gateway }) => `via ${gateway || 'nothing'} on ${device}`)
      .join(', '),
    ...named(
      'MTU of',
      facts.links.filter(({ name }) => uplinks.has(name)).map(({ name, mtu }) => [name, String(mtu)]),
    ),
    ...named(
      'sysctl',
      Object.entries(facts.sysctls).filter(
        ([key]) =>
          /\.conf\.(all|default)\./.test(key) || [...uplinks].some((device) => key.includes(`.conf.${device}.`)),
      ),
    ),
  }
}

const named = (prefix: string, entries: readonly (readonly [string, string])[]): Record<string, string> =>
  Object.fromEntries(entries.map(([key, value]) => [`${prefix} ${key}`, value]))

/** What has changed, in words; empty when nothing has. */
export function changedFacts(
  before: Readonly<Record<string, string>>,
  now: Readonly<Record<string, string>>,
): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(now)])].flatMap((key) => {
    const [was, is] = [before[key], now[key]]
    if (was === is) return []
    if (was === undefined) return [`${key} is there now (${is})`]
    return [is === undefined ? `${key} is gone (it was ${was})` : `${key} was "${was}" and is "${is}"`]
  })
}
