/** FTP: the kernel reads its control connections and expects the data connections that they tell of. Pure. */
import { familyOf } from '../../proto/model/address.js'
import { type ServiceSpec, serveOf } from '../../proto/model/host-spec.js'
import { table } from './own.js'

/** `ADDRESS tcp dport PORT`: at the clients' port, and where what comes out of a tunnel is bound for. */
const controls = (services: readonly ServiceSpec[]): { family: 4 | 6; match: string }[] =>
  services.flatMap(({ routes }) =>
    routes.flatMap((route) => {
      if (!route.helper) return []
      const family = familyOf(route.address)
      const ports = new Set([route.ports.from, serveOf(route.action)?.port || route.ports.from])
      return [...ports].map((port) => ({
        family,
        match: `${family === 4 ? 'ip' : 'ip6'} daddr ${route.address} tcp dport ${port}`,
      }))
    }),
  )

/** Only where they are used: a kernel may lack them. nft(8), "CT HELPER": one for each layer-3 protocol. */
export const helperObjects = (services: readonly ServiceSpec[]): string[] =>
  [...new Set(controls(services).map(({ family }) => family))].map(
    (family) =>
      `add ct helper inet ${table} ftp${family} { type "ftp" protocol tcp; l3proto ${family === 4 ? 'ip' : 'ip6'}; }`,
  )

/** Rules of a chain that first packets pass before they are translated. */
export const assignHelpers = (services: readonly ServiceSpec[]): string[] =>
  controls(services).map(({ family, match }) => `${match} ct helper set "ftp${family}"`)

/** Expectations don't cross conntrack zones: control connections stay out of the tunnel's. */
export const leaveUnzoned = (services: readonly ServiceSpec[]): string[] =>
  controls(services).map(({ match }) => `${match} accept`)
