/** The real kernel: rtnetlink, /proc/sys, nft, wg, and the processes that serve userspace tunnels. */
import { FleetmoveError } from '../../proto/model/error.js'
import { paths } from '../plan/own.js'
import { isRedirectReady, redirectOf } from '../redirect/ready.js'
import { keyFiles } from '../tunnel/key-files.js'
import { addressPerformers, listAddresses } from './addresses.js'
import { announcePerformer } from './announce.js'
import { asidePerformers, observeAsides } from './asides.js'
import { describeStep } from './describe-step.js'
import { firewallPerformers, observeFirewalls } from './firewalls.js'
import type { Kernel } from './kernel.js'
import { type Link, linkPerformers, listLinks } from './links.js'
import { type Netlink, NetlinkError, netlinkProtocol, openRaw, openRoute } from './netlink.js'
import { listNetfilter, nftPerformers, observeTable } from './nft.js'
import type { Observed, ObservedLink } from './observed.js'
import { observeProcesses, processPerformers } from './process.js'
import { listRoutes, routePerformers } from './routes.js'
import { listRules, rulePerformers } from './rules.js'
import type { Performers, Step } from './step.js'
import { readSysctls, sysctlPerformers } from './sysctl.js'
import { installHint, ToolMissing } from './tool.js'
import { observeWireguard, wireguardPerformers } from './wireguard.js'
import {
  clearWayForWireguardGo,
  deviceOfWireguardGo,
  isWireguardGoReady,
  sweepAfterWireguardGo,
} from './wireguard-go.js'

export interface LinuxKernelOptions {
  /** For pid files, logs and rulesets on their way to nft. */
  runDirectory?: string
  /** This host's WireGuard key, base64, as `wg` reads it. */
  wireguardKeyFile?: string
  /** A process that this kernel has started has ended, by itself or stopped by us. */
  onProcessEnd?: () => void
}

export interface LinuxKernel extends Kernel {
  /** Closes its socket. Processes that it started live on. */
  close(): void
}

/** The kernel of the network namespace in which this process runs; needs CAP_NET_ADMIN. */
export function linuxKernel(options: LinuxKernelOptions = {}): LinuxKernel {
  const runDirectory = options.runDirectory ?? paths.run
  const netlink = openRoute()
  const netfilter = openRaw(netlinkProtocol.netfilter)
  const announcer = announcePerformer(netlink)
  const performers: Performers = {
    ...linkPerformers(netlink),
    ...addressPerformers(netlink, announcer.forget),
    ...announcer.performers,
    ...asidePerformers(runDirectory),
    ...routePerformers(netlink),
    ...rulePerformers(netlink),
    ...sysctlPerformers,
    ...nftPerformers(runDirectory, netfilter),
    ...firewallPerformers,
    ...wireguardPerformers(options.wireguardKeyFile ?? `${paths.keys}/${keyFiles.wireguard}`),
    ...processPerformers({
      runDirectory,
      prepare: async (process) => {
        const device = deviceOfWireguardGo(process)
        if (device !== null) await clearWayForWireguardGo(netlink, device)
      },
      isReady: (process) => {
        const redirect = redirectOf(process)
        if (redirect) return isRedirectReady(redirect)
        const device = deviceOfWireguardGo(process)
        return device === null ? null : isWireguardGoReady(netlink, device)
      },
      onEnd: options.onProcessEnd ?? (() => {}),
      sweep: sweepAfterWireguardGo,
    }),
  }
  return {
    observe: async (sysctls) => {
      const netfilterNow = listNetfilter()
      const links = listLinks(netlink)
      const [byNetlink, table, asides, firewalls, values] = await Promise.all([
        links.then((found) => observeByNetlink(netlink, found)),
        netfilterNow.then(({ inet }) => observeTable(netfilter, inet)),
        netfilterNow.then(({ tables }) => observeAsides(tables)),
        netfilterNow.then(({ inet, chains }) => observeFirewalls(inet, chains)),
        links.then((found) => readSysctls(typeof sysctls === 'function' ? sysctls(found.map(observedLink)) : sysctls)),
      ])
      return { ...byNetlink, table, asides, firewalls, sysctls: values, processes: observeProcesses(runDirectory) }
    },
    perform: async (step) => {
      const perform = performers[step.do] as (step: Step) => Promise<void>
      try {
        await perform(step)
      } catch (error) {
        throw failure(step, error)
      }
    },
    close: () => {
      announcer.close()
      netlink.close()
      netfilter.close()
    },
  }
}

async function observeByNetlink(
  netlink: Netlink,
  links: readonly Link[],
): Promise<Omit<Observed, 'table' | 'asides' | 'firewalls' | 'sysctls' | 'processes'>> {
  const nameOf = new Map(links.map((link) => [link.index, link.name]))
  const [addresses, { routes, uplinks }, rules, wireguard] = await Promise.all([
    listAddresses(netlink, nameOf),
    listRoutes(netlink, nameOf),
    listRules(netlink),
    observeWireguard(links),
  ])
  return { links: links.map(observedLink), addresses, routes, uplinks, rules, wireguard }
}

const observedLink = ({ name, kind, mtu, up, vxlan }: Link): ObservedLink => ({ name, kind, mtu, up, vxlan })

/** What the kernel's numbers mean for these requests. */
const meanings: { readonly [errno: string]: string } = {
  EPERM: 'not permitted: this needs root, or CAP_NET_ADMIN in a container',
  EACCES: 'not permitted',
  ENODEV: 'there is no such device',
  ENETUNREACH: 'the gateway is not on the network of the device',
  EHOSTUNREACH: 'the gateway is not on the network of the device',
  ENETDOWN: 'the device is down',
  EBUSY: 'in use by somebody else',
  EEXIST: 'there already, in another form',
  EINVAL: 'the kernel finds a value invalid',
  ENOTSUP: 'this kernel does not support it',
  ENOTSUPP: 'this kernel does not support it',
  EAFNOSUPPORT: 'this kernel lacks that address family',
  EADDRINUSE: 'the address or port is in use',
}

/** Every failure names its step; what is known of the reason and the next move is kept. */
function failure(step: Step, error: unknown): FleetmoveError {
  const known = error instanceof FleetmoveError ? error : null
  const reason =
    error instanceof NetlinkError
      ? `${meanings[error.errno] ?? 'the kernel refused'} (${error.errno})`
      : error instanceof Error
        ? error.message
        : String(error)
  const hint = error instanceof ToolMissing ? installHint(error.tool) : known?.hint
  return new FleetmoveError(known?.code ?? 'kernel', {
    message: `could not ${describeStep(step)}: ${reason}`,
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  })
}
