/** The tunnels' watch on a real host. */
import type { HostSpec } from '../proto/model/host-spec.js'
import { switchedForMs, switchSet } from './kernel/switch-set.js'
import { silentMark, silentSet } from './plan/unreachable.js'
import { askByTcp, byPing } from './reach.js'
import { TunnelCauses } from './tunnel-cause.js'
import { largestThrough } from './tunnel-size.js'
import { TunnelWatch, type TunnelWatchMeans } from './tunnel-watch.js'

const tcpMs = 900
const pingMs = 1500
/** Timers that ring so late say that this process, and not the peer, was held up. */
const heldUpMs = 2000

export function watchTunnels(spec: () => HostSpec | null, log: TunnelWatchMeans['log']): TunnelWatch {
  const causes = new TunnelCauses()
  return new TunnelWatch({
    spec,
    log,
    ask: async (tunnel) => {
      const begun = performance.now()
      const yes = (): true => true
      const no = (): false => false
      // A process each second would be too much: only where TCP isn't answered.
      if (await askByTcp(tunnel, tcpMs).then(yes, no)) return true
      if (await byPing(tunnel, pingMs).then(yes, no)) return true
      return performance.now() - begun > tcpMs + pingMs + heldUpMs ? null : false
    },
    cause: (tunnel) => causes.of(tunnel),
    fits: largestThrough,
    mark: (silent) => switchSet(silentSet, silent.map(silentMark)),
    markedForMs: switchedForMs,
  })
}
