/**
 * The kernel settings that forwarding needs, and no more. kernel doc:
 * Documentation/networking/ip-sysctl.rst.
 */
import { familyOf } from '../../proto/model/address.js'
import type { HostSpec, TunnelSpec } from '../../proto/model/host-spec.js'
import type { Observed } from '../kernel/observed.js'
import { isOurDevice } from './own.js'

interface Input {
  spec: HostSpec
  observed: Observed
  /** What keys were before us (the ledger's), where we have changed them. */
  found: Readonly<Record<string, string>>
  /** Devices by which clients' packets come in. */
  uplinks: readonly string[]
  tunnelDevices: readonly string[]
}

/** What a key was before us; undefined where it doesn't exist (yet). */
const before = ({ found, observed }: Pick<Input, 'found' | 'observed'>, key: string): string | undefined =>
  found[key] ?? observed.sysctls[key]

const forwarding4 = (device: string): string => `net.ipv4.conf.${device}.forwarding`
const forwarding6 = 'net.ipv6.conf.all.forwarding'
const acceptRa = (device: string): string => `net.ipv6.conf.${device}.accept_ra`
/** Bytes and times of connections; of those that begin from then on. */
const tracking = ['net.netfilter.nf_conntrack_acct', 'net.netfilter.nf_conntrack_timestamp'] as const
const acceptLocal = (device: string): string => `net.ipv4.conf.${device}.accept_local`
const arpIgnore = (device: string): string => `net.ipv4.conf.${device}.arp_ignore`
const arpAnnounce = (device: string): string => `net.ipv4.conf.${device}.arp_announce`
const allSendRedirects = 'net.ipv4.conf.all.send_redirects'

/** Every key whose value decides what to set or what to put back, so that it must be observed first. */
export function sysctlKeys({ links }: { links: readonly { name: string }[] }): string[] {
  return [
    forwarding6,
    // Writing `all` writes this and every device's, so each must be known to be put back.
    'net.ipv6.conf.default.forwarding',
    allSendRedirects,
    ...tracking,
    ...links.flatMap(({ name }) => [
      forwarding4(name),
      `net.ipv4.conf.${name}.rp_filter`,
      `net.ipv4.conf.${name}.route_localnet`,
      acceptLocal(name),
      arpIgnore(name),
      arpAnnounce(name),
      `net.ipv6.conf.${name}.forwarding`,
      acceptRa(name),
    ]),
  ]
}

/** Both hosts forward at some time of a move, and established connections outlive it: the same on both, from `up` on. */
export function desiredSysctls(input: Input): Record<string, string> {
  const wanted: Record<string, string> = {}
  if (input.spec.tunnels.length === 0) return wanted
  for (const device of input.tunnelDevices) {
    // Clients' addresses come in by the tunnel while their route is the uplink. The kernel takes the
    // larger of this and `all`, so 0 would leave a strict `all` in force; 2 is loose.
    wanted[`net.ipv4.conf.${device}.rp_filter`] = '2'
    wanted[forwarding4(device)] = '1'
    // 127.0.0.1 may be a source there. The ruleset keeps the peer from calling it.
    if (input.spec.services.some((service) => service.localhost)) wanted[`net.ipv4.conf.${device}.route_localnet`] = '1'
    // Before the device exists its keys can't be observed; a second plan sees them.
    if (isOurDevice(device)) wanted[acceptRa(device)] = '0'
    // Answers of connections that are forwarded to an address which this host has now, too, bear it.
    if (input.spec.addresses?.some(({ as }) => as === 'taken' || as === 'silent')) wanted[acceptLocal(device)] = '1'
  }
  // The kernel's WireGuard writes this itself when its device comes up (wg_open), and leaves it so. By
  // wanting it too, what it was is kept, and put back at the end.
  if (input.spec.tunnels.some(isKernelWireguard)) wanted[allSendRedirects] = '0'
  for (const device of input.uplinks) wanted[forwarding4(device)] = '1'
  if (input.spec.log?.connections && input.spec.services.length > 0) for (const key of tracking) wanted[key] = '1'
  if (input.spec.addresses?.some(({ as, address }) => as === 'silent' && familyOf(address) === 4)) {
    for (const device of input.uplinks) {
      // 3: no answers for addresses of scope host. The others but 0 are answers by the device's own addresses alone.
      if (before(input, arpIgnore(device)) === '0') wanted[arpIgnore(device)] = '3'
      // What a silent address sends must not ask for its gateway in that address's name.
      wanted[arpAnnounce(device)] = '2'
    }
  }
  if (usesIpv6(input.spec)) {
    for (const device of input.uplinks) {
      // A forwarding host ignores router advertisements unless this is 2, and turning forwarding on
      // drops the default routes that it learned from them (addrconf_fixup_forwarding). One that
      // forwarded before us has done without them, and must go on so.
      if (before(input, `net.ipv6.conf.${device}.forwarding`) === '1') continue
      const value = input.observed.sysctls[acceptRa(device)]
      if (value === '1' || value === '2') wanted[acceptRa(device)] = '2'
    }
    // IPv6 has no forwarding by device before Linux 6.17: the whole host's switch.
    wanted[forwarding6] = '1'
  }
  return wanted
}

const isKernelWireguard = ({ driver, userspace }: TunnelSpec): boolean =>
  (driver === 'wireguard' || driver === 'wireguard-l2') && !userspace

const usesIpv6 = (spec: HostSpec): boolean =>
  spec.tunnels.some((tunnel) => tunnel.probe.pairs.some((pair) => familyOf(pair.local) === 6)) ||
  spec.services.some((service) => service.routes.some((route) => familyOf(route.address) === 6))

/**
 * Where forwarding is our doing, and must carry only what is ours: a key that is off now, or was
 * before we opened it.
 */
export function openedDevices(input: Omit<Input, 'spec'>): { opened4: string[]; opened6: boolean } {
  const opened = [...input.uplinks, ...input.tunnelDevices].filter(
    // A device that we made is ours, whatever its default was.
    (device) => isOurDevice(device) || before(input, forwarding4(device)) !== '1',
  )
  return { opened4: [...new Set(opened)].sort(), opened6: before(input, forwarding6) !== '1' }
}

/** Keys that are there only once something tracks connections: our table does. */
export const needsTable = (key: string): boolean => key.startsWith('net.netfilter.')

/** Keys that open forwarding: they are set last, when the guard stands, and put back first. */
export const opensForwarding = (key: string): boolean => key.endsWith('.forwarding')
