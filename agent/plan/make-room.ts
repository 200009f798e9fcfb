/**
 * What must go before a tunnel's new links can be made: a tunnel that changes its driver keeps its
 * index, and with it the device's name and the UDP port. Pure.
 */
import type { Observed, ObservedLink } from '../kernel/observed.js'
import type { Step } from '../kernel/step.js'
import type { Desired, LinkSpec, ProcessSpec } from './desired.js'
import { fingerprint } from './fingerprint.js'
import { deviceIndex } from './own.js'
import { isRedirect } from './redirects.js'

/** What a process was started with; a running one with another fingerprint is replaced. */
export const processFingerprint = (process: ProcessSpec): string =>
  fingerprint(JSON.stringify([process.argv, process.env, process.config]))

/** The process that makes a userspace WireGuard link (see TunnelPieces.processes). */
export const wireguardProcess = (link: string): string => `wireguard-${link}`

/** Processes bear the name of what they are and of their device. */
const deviceOfProcess = (name: string): string => name.slice(name.lastIndexOf('-') + 1)

/**
 * The steps, and what is left for the rest of the plan to compare with: addresses, routes and
 * parameters go with their device. Tunnels that are no longer wanted aren't touched here; they go last.
 */
export function makeRoom(desired: Desired, observed: Observed): { steps: Step[]; rest: Observed } {
  const wanted = new Map(desired.links.map((link) => [link.name, link]))
  const remade = new Set(desired.links.flatMap((link) => deviceIndex(link.name) ?? []))
  const processes = new Map(desired.processes.map((process) => [process.name, processFingerprint(process)]))
  // OpenVPN stays when its tap is taken away, and doesn't take a new one.
  const isAdrift = (name: string): boolean =>
    wanted.get(deviceOfProcess(name))?.kind === 'tap' &&
    !observed.links.some((link) => link.name === deviceOfProcess(name))
  const stopped = Object.entries(observed.processes)
    .filter(
      ([name, mark]) =>
        (remade.has(deviceIndex(deviceOfProcess(name)) ?? 0) && (processes.get(name) !== mark || isAdrift(name))) ||
        (isRedirect(name) && processes.has(name) && processes.get(name) !== mark),
    )
    .map(([name]) => name)

  const unfit = (link: ObservedLink): boolean => {
    if (!remade.has(deviceIndex(link.name) ?? 0)) return false
    const spec = wanted.get(link.name)
    // A device of wireguard-go lives and dies with its process.
    const maker = wireguardProcess(link.name)
    const orphan = processes.has(maker) && !(maker in observed.processes)
    return spec === undefined || !sameMake(spec, link) || orphan || stopped.includes(maker)
  }
  const gone = new Set(observed.links.filter(unfit).map(({ name }) => name))
  for (const link of desired.links) if (link.kind === 'vxlan' && gone.has(link.under)) gone.add(link.name)

  const removed = observed.links.filter(({ name }) => gone.has(name) && !stopped.includes(wireguardProcess(name)))
  const isUpper = ({ kind }: ObservedLink): boolean => kind === 'vxlan'
  const removal = (link: ObservedLink): Step => ({ do: 'delete-link', name: link.name })
  return {
    steps: [
      // VXLAN before the WireGuard that it rides on, a tap after the process that serves it.
      ...removed.filter(isUpper).map(removal),
      ...stopped.map((name): Step => ({ do: 'stop-process', name })),
      ...removed.filter((link) => !isUpper(link)).map(removal),
    ],
    rest: without(observed, gone, stopped),
  }
}

function without(observed: Observed, links: ReadonlySet<string>, processes: readonly string[]): Observed {
  const stays = (device: string | null): boolean => device === null || !links.has(device)
  const left = Object.entries(observed.processes).filter(([name]) => !processes.includes(name))
  const sysctls = Object.entries(observed.sysctls).filter(([key]) => stays(deviceOf(key)))
  return {
    ...observed,
    links: observed.links.filter(({ name }) => stays(name)),
    addresses: observed.addresses.filter(({ device }) => stays(device)),
    routes: observed.routes.filter(({ device }) => stays(device)),
    wireguard: observed.wireguard.filter(({ name }) => stays(name)),
    sysctls: Object.fromEntries(sysctls),
    processes: Object.fromEntries(left),
  }
}

/** The device that a parameter under net.ipv4.conf or net.ipv6.conf is of, else ''. */
export const deviceOf = (key: string): string => /^net\.ipv[46]\.conf\.(.+)\.[a-z_]+$/.exec(key)?.[1] ?? ''

function sameMake(link: LinkSpec, present: ObservedLink): boolean {
  if (link.kind === 'vxlan') {
    return (
      present.vxlan !== null &&
      present.vxlan.vni === link.vni &&
      present.vxlan.local === link.local &&
      present.vxlan.remote === link.remote &&
      present.vxlan.port === link.port
    )
  }
  if (link.kind === 'wireguard') return link.userspace ? present.kind === 'tun' : present.kind === 'wireguard'
  return link.kind === 'existing' || present.kind === 'tun'
}
