/**
 * What would be observed when all of `desired` stands: so that a change can be planned that comes after
 * another one, before either is made. Pure; `difference(desired, afterwards(…))` is empty.
 */
import type { Observed, ObservedLink, ObservedTable, ObservedWireguard } from '../kernel/observed.js'
import type { Step } from '../kernel/step.js'
import type { AddressSpec, Desired, LinkSpec, Ruleset } from './desired.js'
import { commentOf } from './firewall/allow.js'
import { placeKey } from './firewall/firewall-rules.js'
import { deviceOf, processFingerprint } from './make-room.js'
import { isOurDevice } from './own.js'

/** @param steps from `observed` to `desired`: what they set and put back decides on the sysctls */
export function afterwards(desired: Desired, observed: Observed, steps: readonly Step[]): Observed {
  const links = desired.links.filter((link) => link.kind !== 'existing')
  return {
    links: [...observed.links.filter(({ name }) => !isOurDevice(name)), ...links.map(observedLink)],
    addresses: addressesAfter(desired, observed, steps),
    asides: desired.moved.asides.map(({ family, fingerprint, rules }) => ({ family, fingerprint, rules })),
    routes: desired.routes,
    rules: desired.rules,
    uplinks: observed.uplinks,
    sysctls: sysctlsAfter(observed, steps),
    table: desired.ruleset && tableAfter(desired.ruleset),
    wireguard: links.flatMap(observedWireguard),
    firewalls: observed.firewalls.map((chain) => ({
      ...chain,
      ours: desired.firewall
        .filter(({ place }) => placeKey(place) === placeKey(chain.place))
        .map(({ allow }) => ({ comment: commentOf(allow), effective: true, words: [] })),
    })),
    processes: Object.fromEntries(desired.processes.map((process) => [process.name, processFingerprint(process)])),
  }
}

/** What a look finds once this ruleset is loaded. */
export const tableAfter = ({ fingerprint, chains, counters, rules, elements, overrides }: Ruleset): ObservedTable => ({
  ...{ fingerprint, chains, counters, rules, elements, overrides },
})

function addressesAfter(desired: Desired, observed: Observed, steps: readonly Step[]): AddressSpec[] {
  const foreign = observed.addresses.filter(({ device }) => !isOurDevice(device))
  for (const step of steps)
    if (step.do === 'add-address' && !isOurDevice(step.address.device)) foreign.push(step.address)
  const removed = steps.flatMap((step) => (step.do === 'delete-address' ? [step.address] : []))
  const isRemoved = (each: AddressSpec): boolean =>
    removed.some(({ device, ip, prefix }) => device === each.device && ip === each.ip && prefix === each.prefix)
  return [...foreign.filter((each) => !isRemoved(each)), ...desired.addresses]
}

const allForwarding = 'net.ipv6.conf.all.forwarding'

function sysctlsAfter(observed: Observed, steps: readonly Step[]): Record<string, string> {
  const values = { ...observed.sysctls }
  for (const step of steps) {
    const gone = goneWith(step)
    if (gone !== undefined) for (const key of Object.keys(values)) if (deviceOf(key) === gone) delete values[key]
    if (step.do !== 'set-sysctl') continue
    values[step.key] = step.value
    // The kernel writes it into every device (addrconf_fixup_forwarding).
    if (step.key === allForwarding)
      for (const key of Object.keys(values))
        if (key.startsWith('net.ipv6.conf.') && key.endsWith('.forwarding')) values[key] = step.value
  }
  return values
}

/** The device that a step takes away, and its sysctls with it. */
function goneWith(step: Step): string | undefined {
  if (step.do === 'delete-link') return step.name
  return step.do === 'stop-process' ? /^wireguard-(.+)$/.exec(step.name)?.[1] : undefined
}

function observedLink(link: Exclude<LinkSpec, { kind: 'existing' }>): ObservedLink {
  const { name, mtu } = link
  const kind = link.kind === 'tap' || (link.kind === 'wireguard' && link.userspace) ? 'tun' : link.kind
  const vxlan =
    link.kind === 'vxlan' ? { vni: link.vni, local: link.local, remote: link.remote, port: link.port } : null
  return { name, mtu, kind, up: true, vxlan }
}

const observedWireguard = (link: LinkSpec): ObservedWireguard[] =>
  link.kind === 'wireguard'
    ? [
        {
          name: link.name,
          listenPort: link.listenPort,
          peers: [{ publicKey: link.peer.publicKey, endpoint: null, allowedIps: link.peer.allowedIps }],
        },
      ]
    : []
