/** Host spec × what is observed → everything of ours that should stand in the kernel. Pure. */
import type { HostSpec } from '../../proto/model/host-spec.js'
import type { Observed } from '../kernel/observed.js'
import { piecesOf } from '../tunnel/tunnel.js'
import type { Desired, RouteSpec, RuleSpec } from './desired.js'
import { allowances, firewallRules } from './firewall/firewall-rules.js'
import { movedPieces } from './moved-addresses.js'
import { isOurDevice, routeMark, routeMask, routeTable, rulePriority } from './own.js'
import { redirectProcesses } from './redirects.js'
import { ruleset } from './ruleset.js'
import { desiredSysctls, openedDevices } from './sysctls.js'

/**
 * @param found what the ledger keeps of sysctls as they were before us; tells which forwarding is our doing.
 * @param measured UDP ports on which the path to a peer is being measured
 */
export function derive(
  spec: HostSpec,
  observed: Observed,
  found: Readonly<Record<string, string>>,
  measured: readonly number[] = [],
): Desired {
  const pieces = spec.tunnels.map((tunnel) => ({ tunnel, ...piecesOf(tunnel) }))
  const devices = new Map(pieces.map((piece) => [piece.tunnel.index, piece.device]))
  const uplinks = uplinkDevices(spec, observed)
  const settings = { observed, found, uplinks, tunnelDevices: [...devices.values()] }
  return {
    links: pieces.flatMap((piece) => piece.links),
    processes: [...pieces.flatMap((piece) => piece.processes), ...redirectProcesses(spec.services)],
    addresses: pieces.flatMap((piece) => piece.addresses),
    routes: pieces.flatMap((piece) => tunnelRoutes(piece.tunnel, piece.device, piece.layer)),
    rules: pieces.flatMap((piece) => tunnelRules(piece.tunnel.index)),
    sysctls: desiredSysctls({ spec, ...settings }),
    firewall: firewallRules(
      [...allowances(spec), ...measured.map((port) => ({ kind: 'measure' as const, port }))],
      observed.firewalls,
    ),
    moved: movedPieces(
      spec,
      observed,
      pieces.map(({ tunnel: { index, peer4, peer6 }, device }) => ({ index, device, peer4, peer6 })),
    ),
    ruleset:
      spec.tunnels.length === 0 && spec.services.length === 0
        ? null
        : ruleset({ spec, devices, uplinks, ...openedDevices(settings) }),
  }
}

/** Where clients' packets come in: the devices of default routes, and those that hold a service's address. */
export function uplinkDevices(spec: HostSpec, observed: Observed): string[] {
  const ingress = new Set<string>(spec.services.flatMap((service) => service.routes.map((route) => route.address)))
  const holders = observed.addresses.filter((address) => ingress.has(address.ip)).map((address) => address.device)
  const all = [...observed.uplinks.map((uplink) => uplink.device), ...holders]
  return [...new Set(all)].filter((name) => name !== 'lo' && !isOurDevice(name)).sort()
}

function tunnelRoutes(tunnel: HostSpec['tunnels'][number], device: string, layer: 2 | 3): RouteSpec[] {
  const table = routeTable(tunnel.index)
  return ([4, 6] as const).flatMap((family): RouteSpec[] => [
    {
      family,
      table,
      kind: 'unicast',
      device,
      via: layer === 3 ? null : family === 4 ? tunnel.peer4 : tunnel.peer6,
      metric: 100,
    },
    // While the tunnel is down a SYN must vanish and be sent again; without this route it would leave
    // by the uplink, with `unreachable` the client would be refused.
    { family, table, kind: 'blackhole', device: null, via: null, metric: 4096 },
  ])
}

const tunnelRules = (index: number): RuleSpec[] =>
  ([4, 6] as const).map((family) => ({
    family,
    priority: rulePriority,
    mark: routeMark(index),
    mask: routeMask,
    table: routeTable(index),
  }))
