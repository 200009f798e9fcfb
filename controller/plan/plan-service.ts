/** What becomes of one service, now and later, in words. Pure. */
import type { HostFacts } from '../../proto/model/facts.js'
import type { Service, ServiceListener } from '../config/fleet.js'
import type { PlannedService } from './fleet-plan.js'
import type { ServiceState } from './host-specs.js'
import { queueMeans } from './queue-means.js'
import { isRedirectable } from './redirects.js'

/** @param facts of the two hosts, by name */
export function planService(
  service: Service,
  { stage, active, address }: ServiceState,
  facts: (host: Service['from']) => HostFacts,
): PlannedService {
  const { name, from, to, strategy } = service
  const other = active === from ? to : from
  const now =
    stage === 'planned'
      ? `${to} begins to forward to ${from}, which goes on answering`
      : address === 'moved'
        ? `stays as it is: ${active} answers, and has its old addresses`
        : `stays as it is: ${active} answers, ${other} forwards to it`
  return {
    ...{ name, from, to, stage, active, strategy, now },
    listen: service.listen.map(listenerText),
    later: stage === 'moved' ? [] : [advance(service), ...waiting(service, facts), ...besides(service)],
  }
}

const listenerText = ({ protocol, ports }: ServiceListener): string =>
  `${protocol}/${ports.from === ports.to ? ports.from : `${ports.from}-${ports.to}`}`

const seconds = (ms: number): string => `${ms / 1000} s`

/** Of the hold, what drain may use (controller/recreate.ts). */
const drainShare = 0.5

function advance({ from, to, strategy, lifecycle, holdMs, drainMs, drainThen, data }: Service): string {
  if (strategy === 'recreate') {
    const copied = data.length === 0 ? '' : `copies ${data.join(', ')} while it runs, `
    const drain = seconds(Math.min(drainMs, holdMs * drainShare))
    return `advance ${copied}stops it on ${from} and starts it on ${to}; whoever is connected has ${drain} to end, and is reset then`
  }
  const start = lifecycle ? `starts it on ${to}, ` : ''
  const rest = drainThen === 'reset' ? ' and are reset then' : lifecycle ? '' : ' and may stay on'
  const stop = lifecycle
    ? `, before it stops on ${from}`
    : '; it must run on both hosts, for nothing says how to start it'
  return `advance ${start}sends new clients there; old ones have ${seconds(drainMs)} to end${rest}${stop}`
}

const kernels = (hosts: readonly string[]): string =>
  `${hosts.length > 1 ? 'kernels' : 'kernel'} of ${hosts.join(' and ')}`

/** Only a service that never runs twice makes anybody wait. */
function waiting(service: Service, facts: (host: Service['from']) => HostFacts): string[] {
  const { from, to, holdMs, strategy } = service
  if (strategy === 'rolling') return ['clients notice nothing of the switch']
  const means = [from, to].map((host) => ({ host, means: queueMeans(facts(host)) }))
  const lacking = means.filter((each) => each.means === 'drop').map(({ host }) => host)
  const unknown = means.filter((each) => each.means === 'unknown').map(({ host }) => host)
  const limit = `new clients wait meanwhile, ${seconds(holdMs)} at most`
  if (lacking.length > 0)
    return [
      `${limit}; the ${kernels(lacking)} can queue no packets, so those who come there wait whole seconds: they try again after 1, 3 and 7 s`,
    ]
  if (unknown.length > 0) return [`${limit}; whether the ${kernels(unknown)} can queue their packets is not known`]
  return [`${limit}: their packets are queued in the kernels of both hosts, and nobody is refused`]
}

/** HTTPS would need the certificate on the old host, and its key. */
function redirected({ listen, redirect, from }: Service): string[] {
  if (!redirect) return []
  const texts = (answered: boolean): string =>
    listen
      .filter((each) => isRedirectable({ redirect }, each) === answered)
      .map(listenerText)
      .join(', ')
  return [
    `from then on ${from} answers ${texts(true)} itself, with a redirect (308) to ${redirect.to}, and doesn't forward it`,
    ...(texts(false) === ''
      ? []
      : [`${texts(false)} is forwarded all the same: a redirect speaks HTTP, and has no certificate for HTTPS`]),
  ]
}

function besides(service: Service): string[] {
  const { listen, egress, check, localhost, movesAddress, to, from } = service
  return [
    ...redirected(service),
    ...(movesAddress
      ? [
          `then its old addresses themselves go over to ${to}, with all their ports, and ${from} forwards no more; connections that stand are handed over`,
        ]
      : []),
    ...(listen.some(({ protocol }) => protocol === 'udp') ? ['UDP flows go over in the middle of a conversation'] : []),
    ...(egress ? [`connections that it opens itself leave with the address of ${egress}`] : []),
    ...(check ? [`a balancer that asks tcp/${check} is refused on the host that is being left`] : []),
    ...(localhost ? ['processes of the old host go on reaching it at 127.0.0.1'] : []),
  ]
}
