import { quote } from '../../proto/parse.js'
import type { Draft } from './draft.js'
import type { ServiceEntry } from './fleet-schema.js'
import { foundAllowed, type Problem } from './problem.js'

/** Names that must be somewhere else in the file, or must not; and lifecycles that a strategy needs. */
export function checkReferences(draft: Draft): Problem[] {
  return [
    ...[...draft.services].flatMap(([name, service]) => [
      ...checkHosts(draft, name, service),
      ...checkEgress(name, service),
      ...checkLifecycle(name, service),
    ]),
    ...draft.vantages
      .filter((name) => draft.hosts.has(name))
      .map((name) => problem(['vantages', name], 'key', foundAllowed(quote(name), 'a name that no host has'))),
  ]
}

const problem = (path: Problem['path'], at: Problem['at'], text: string): Problem => ({ path, at, text })

function checkHosts(draft: Draft, name: string, service: Partial<ServiceEntry>): Problem[] {
  const hosts = [...draft.hosts.keys()]
  const unknown = (['from', 'to'] as const).flatMap((key) => {
    const host = service[key]
    if (host === undefined || draft.hosts.has(host)) return []
    const allowed = hosts.length === 0 ? 'a host under hosts' : `one of the hosts ${hosts.join(', ')}`
    const text = foundAllowed(quote(host), allowed, { text: host, candidates: hosts })
    return [problem(['services', name, key], 'value', text)]
  })
  if (unknown.length > 0 || service.from === undefined || service.from !== service.to) return unknown
  const text = foundAllowed(`${quote(service.to)}, where the service already is`, 'another host than from')
  return [problem(['services', name, 'to'], 'value', text)]
}

function checkEgress(name: string, service: Partial<ServiceEntry>): Problem[] {
  const { egress, from, to } = service
  // A key that couldn't be read isn't in the draft; the schema tells it.
  if ('egress' in service && egress === undefined && service.egress_from !== undefined) {
    const text = foundAllowed('egress_from without egress', 'both or neither')
    return [problem(['services', name, 'egress_from'], 'key', text)]
  }
  if (egress === undefined || from === undefined || to === undefined || egress === from || egress === to) return []
  const text = foundAllowed(quote(egress), `${from} or ${to}, the service's own hosts`, {
    text: egress,
    candidates: [from, to],
  })
  return [problem(['services', name, 'egress'], 'value', text)]
}

function checkLifecycle(name: string, service: Partial<ServiceEntry>): Problem[] {
  // A key that couldn't be read isn't in the draft; the schema tells it, and it counts as there.
  const [first, ...more] = (['unit', 'container', 'compose', 'run'] as const).filter(
    (key) => !(key in service) || service[key] !== undefined,
  )
  if (first === undefined && service.strategy === 'recreate') {
    const text = foundAllowed(
      '"recreate" without a lifecycle',
      'it with unit, container, compose or run: the old side must be stopped',
    )
    return [problem(['services', name, 'strategy'], 'value', text)]
  }
  return more.map((key) =>
    problem(
      ['services', name, key],
      'key',
      foundAllowed(`${key} besides ${first}`, 'one of unit, container, compose and run'),
    ),
  )
}
