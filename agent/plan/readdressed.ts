/**
 * Peers that have got another address. What WireGuard holds doesn't tell, since it follows a peer that moves by
 * itself; so the step comes from what the spec was before. Pure.
 */
import type { HostSpec } from '../../proto/model/host-spec.js'
import type { Step } from '../kernel/step.js'
import { piecesOf } from '../tunnel/tunnel.js'

/** @param steps that are taken anyway: a link that is made or configured gets the address with that */
export function readdressed(before: HostSpec | null, spec: HostSpec, steps: readonly Step[]): Step[] {
  const configured = new Set(steps.flatMap((step) => (step.do === 'configure-wireguard' ? step.link.name : [])))
  return spec.tunnels.flatMap((tunnel) => {
    const known = before?.tunnels.find(({ index }) => index === tunnel.index)
    if (!known || (known.remote === tunnel.remote && known.port === tunnel.port)) return []
    return piecesOf(tunnel).links.flatMap((link): Step[] =>
      link.kind === 'wireguard' && !configured.has(link.name) ? [{ do: 'configure-wireguard', link }] : [],
    )
  })
}
