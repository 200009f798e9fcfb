/** What answers with a redirect on this host, and how openings get to it. Pure. */
import { hostPort, type Ip } from '../../proto/model/address.js'
import type { ServiceSpec } from '../../proto/model/host-spec.js'
import type { ProcessSpec } from './desired.js'
import { ownProgram, paths } from './own.js'

/** No name of a device ends so (see deviceOfProcess in make-room.ts). */
const suffix = '.redirect'
export const isRedirect = (process: string): boolean => process.endsWith(suffix)

/** It holds nothing but answers of some hundred bytes. */
const heap = '--max-old-space-size=48'

/** A process for each service: a change of one lets the others answer on. */
export const redirectProcesses = (services: readonly ServiceSpec[]): ProcessSpec[] =>
  services.flatMap(({ name, redirect }): ProcessSpec[] => {
    if (!redirect) return []
    const path = `${paths.run}/${name}${suffix}.conf`
    const content = `${JSON.stringify({ port: redirect.port, to: redirect.to })}\n`
    return [
      {
        name: `${name}${suffix}`,
        argv: [ownProgram, 'redirect', path],
        env: { NODE_OPTIONS: heap },
        config: { path, content },
      },
    ]
  })

/** The client's own address stays, and so does the host's: its socket is found by both. */
export const toRedirect = (address: Ip, port: number): string =>
  `meta l4proto tcp dnat ${address.includes(':') ? 'ip6' : 'ip'} to ${hostPort(address, port)}`

/** It listens on all addresses; nobody comes to it but by a translated opening. */
export const refuseUntranslated = (services: readonly ServiceSpec[]): string[] =>
  services.flatMap(({ redirect }) => (redirect ? [`tcp dport ${redirect.port} reject with tcp reset`] : []))
