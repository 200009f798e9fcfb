/** `redirect:`: which listeners an old host can answer by itself, as far as fleet.yaml tells. */
import { parseIp } from '../../proto/parse.js'
import type { Draft } from './draft.js'
import type { Path } from './fleet-document.js'
import type { ServiceEntry } from './fleet-schema.js'
import { foundAllowed, type Problem } from './problem.js'

/** Where HTTPS is, by IANA and by habit. */
const httpsPorts = [443, 8443]
const why = 'HTTPS can only be forwarded: to redirect it the old host would need the certificate'

export function checkRedirects(draft: Draft): Problem[] {
  return [...draft.services].flatMap(([name, service]) => {
    const { redirect } = service
    if (!redirect) return []
    const refuse = (found: string, allowed: string, ...more: Path): Problem => ({
      path: ['services', name, 'redirect', ...more],
      at: 'value',
      text: foundAllowed(found, allowed),
    })
    return [...checkPorts(service, refuse), ...checkTarget(draft, service, refuse), ...checkBesides(service, refuse)]
  })
}

type Refuse = (found: string, allowed: string, ...more: Path) => Problem

/** A range may hold the port, too, but then other ports of it are something else. */
const listens = (service: Partial<ServiceEntry>, port: number): boolean =>
  (service.listen ?? []).some(({ protocol, ports }) => protocol === 'tcp' && ports.from === port && ports.to === port)

function checkPorts(service: Partial<ServiceEntry>, refuse: Refuse): Problem[] {
  // A list that couldn't be read isn't in the draft; the schema tells it.
  if (!service.listen) return []
  const named = service.redirect!.listen
  if (!named)
    return listens(service, 80)
      ? []
      : [
          refuse(
            'it for a service without tcp/80',
            `{ to: …, listen: [tcp/PORT] } with the ports of it that speak HTTP; ${why}`,
          ),
        ]
  return named.flatMap(({ protocol, ports }, i) => {
    const text = `"${protocol}/${ports.from}${ports.to === ports.from ? '' : `-${ports.to}`}"`
    if (protocol === 'tcp' && httpsPorts.includes(ports.from))
      return [refuse(text, `ports that speak HTTP; ${why}`, 'listen', i)]
    return protocol === 'tcp' && ports.from === ports.to && listens(service, ports.from)
      ? []
      : [refuse(text, 'single TCP ports that stand under listen of this service, too', 'listen', i)]
  })
}

function checkTarget(draft: Draft, service: Partial<ServiceEntry>, refuse: Refuse): Problem[] {
  const host = new URL(service.redirect!.to).hostname.replace(/^\[(.*)\]$/, '$1')
  const address = parseIp(host)
  const old = draft.hosts.get(service.from ?? '')?.addresses ?? []
  return address.ok && old.some((each) => each.public === address.value)
    ? [refuse(`it to ${host}, an address of ${service.from}`, 'a URL by which clients reach the new host')]
    : []
}

function checkBesides(service: Partial<ServiceEntry>, refuse: Refuse): Problem[] {
  if (service.address === 'move')
    return [
      refuse('it besides address: move', 'one of the two: an address that has moved leads to the new host itself'),
    ]
  if (service.localhost)
    return [refuse('it besides localhost: true', 'one of the two: what is redirected is not forwarded')]
  return []
}
