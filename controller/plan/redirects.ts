/** What an old host answers with a redirect, and by which port of its own. Pure. */
import type { Protocol, Redirect, Stage } from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'
import type { Fleet, Service } from '../config/fleet.js'

/** What of its state decides (ServiceState in host-specs.ts). */
interface Standing {
  stage: Stage
  active: Name
  canary?: unknown
}

/** One port a service, well away from those of tunnels and probes. */
const redirectPort = (base: number, index: number): number => (base < 60_000 ? base + 2000 : base - 2000) + index

/** Of the services that an old host is going to answer for; one port each in the whole fleet. */
export function redirectOf(fleet: Fleet, service: Service): Redirect | undefined {
  if (!service.redirect) return undefined
  const all = [...fleet.services.values()].filter(({ redirect }) => redirect)
  return { port: redirectPort(fleet.tunnel.port, all.indexOf(service)), to: service.redirect.to }
}

/** The ports that this host must have free for it. */
export const redirectPorts = (fleet: Fleet, host: Name): number[] =>
  [...fleet.services.values()].flatMap((service) =>
    service.from === host ? (redirectOf(fleet, service)?.port ?? []) : [],
  )

/** It answers before anybody is sent to it: from the intent to move on. */
export const answersRedirects = (service: Service, host: Name, { stage }: Standing): boolean =>
  service.redirect !== undefined && host === service.from && (stage === 'moving' || stage === 'moved')

interface Listener {
  protocol: Protocol
  ports: { from: number; to: number }
}

/** Whether it is one of the ports that speak HTTP by fleet.yaml's word. */
export const isRedirectable = ({ redirect }: Pick<Service, 'redirect'>, { protocol, ports }: Listener): boolean =>
  protocol === 'tcp' && ports.from === ports.to && (redirect?.ports.includes(ports.from) ?? false)

/** Whether openings to this port of the old host are answered there, and go no further. */
export const isRedirectedPort = (service: Service, { active, canary }: Standing, listener: Listener): boolean =>
  active === service.to && !canary && isRedirectable(service, listener)
