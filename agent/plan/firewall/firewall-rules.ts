/** Which rules of ours other firewalls need now, and the steps from those that stand. Pure. */
import type { HostSpec } from '../../../proto/model/host-spec.js'
import type { Step } from '../../kernel/step.js'
import { piecesOf } from '../../tunnel/tunnel.js'
import { type Allow, commentOf, type FirewallRule, familiesOf, hookOf } from './allow.js'
import type { ForeignChain, Place } from './chain.js'

/** What this host must let pass while the spec stands. */
export function allowances(spec: HostSpec): Allow[] {
  if (spec.tunnels.length === 0) return []
  return [
    { kind: 'forwarded' },
    { kind: 'arriving' },
    { kind: 'steered' },
    ...spec.services.flatMap(({ redirect }): Allow[] => (redirect ? [{ kind: 'redirect', port: redirect.port }] : [])),
    ...spec.tunnels.flatMap((tunnel): Allow[] => {
      const { device, links, layer } = piecesOf(tunnel)
      return [
        ...(tunnel.driver === 'direct'
          ? []
          : [{ kind: 'tunnel', port: tunnel.port, from: tunnel.remote } satisfies Allow]),
        ...links.flatMap((link): Allow[] =>
          link.kind === 'vxlan' ? [{ kind: 'carrier', device: link.under, port: link.port }] : [],
        ),
        { kind: 'peer', device, address: tunnel.peer4 },
        { kind: 'peer', device, address: tunnel.peer6 },
        ...(layer === 2 ? [{ kind: 'neighbour', device } satisfies Allow] : []),
        { kind: 'probe', protocol: 'tcp', port: tunnel.probe.port },
        { kind: 'probe', protocol: 'udp', port: tunnel.probe.port },
      ]
    }),
  ]
}

/** Only where something would be dropped. */
export const firewallRules = (allows: readonly Allow[], chains: readonly ForeignChain[]): FirewallRule[] =>
  chains.flatMap(({ place, hook, families, dropsAt }) =>
    dropsAt === null
      ? []
      : allows
          .filter((allow) => hookOf(allow) === hook && familiesOf(allow).some((family) => families.includes(family)))
          .map((allow) => ({ place, allow, before: dropsAt })),
  )

export interface FirewallSteps {
  /** Rules that stand behind what drops go first: by its words iptables removes the first that fits. */
  adding: Step[]
  removing: Step[]
}

export function firewallSteps(wanted: readonly FirewallRule[], chains: readonly ForeignChain[]): FirewallSteps {
  const adding: Step[] = []
  const removing: Step[] = []
  for (const { place, ours } of chains) {
    const here = wanted.filter((rule) => placeKey(rule.place) === placeKey(place))
    const comments = here.map(({ allow }) => commentOf(allow))
    const useful = new Set<string>()
    for (const { comment, effective, words } of ours) {
      const remove: Step = { do: 'remove-firewall-rule', place, comment, words }
      if (!comments.includes(comment)) removing.push(remove)
      else if (!effective || useful.has(comment)) adding.push(remove)
      else useful.add(comment)
    }
    for (const rule of here) {
      if (!useful.has(commentOf(rule.allow))) adding.push({ do: 'add-firewall-rule', rule })
    }
  }
  return { adding, removing }
}

export const placeKey = (place: Place): string => Object.values(place).join(' ')
