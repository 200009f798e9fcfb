/** A balancer's check port on a host that is being left. Pure. */
import { familyOf } from '../../proto/model/address.js'
import type { ServiceSpec } from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'

/** Rules for opening packets from outside: refused and not dropped, so that the balancer needs no timeout. */
export const refuseChecks = (host: Name, services: readonly ServiceSpec[]): string[] => [
  ...new Set(
    services.flatMap(({ dark, routes }) =>
      dark?.host !== host
        ? []
        : routes.map(
            ({ address }) =>
              `${familyOf(address) === 4 ? 'ip' : 'ip6'} daddr ${address} tcp dport ${dark.port} reject with tcp reset`,
          ),
    ),
  ),
]
