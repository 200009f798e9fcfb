/** Pairs of hosts → the fleet that `init` proposes. Pure. */
import type { Ip } from '../../../proto/model/address.js'
import type { DraftFleet, DraftHost, DraftPair, DraftService, Left } from './draft.js'
import { draftService } from './draft-service.js'
import { type Group, groupListeners } from './group-listeners.js'
import { knownProgram } from './known-programs.js'

const defaultTunnelPort = 51820

/** @param hosts every host that the pairs name, once */
export function draftFleet(name: string, hosts: readonly DraftHost[], pairs: readonly DraftPair[]): DraftFleet {
  const services: DraftService[] = []
  const left: Left[] = []
  for (const pair of pairs) {
    const { old } = pair
    const own = old.addresses.map((address): Ip => address.local ?? address.public)
    const found = groupListeners(old.name, old.survey, own)
    left.push(...found.left)
    for (const group of found.groups) {
      const names = services.map((service) => service.name)
      const service = draftService(group, pair, freeName(nameOf(group), names))
      if (service !== undefined) services.push(service)
      else {
        const what = `${group.process?.name ?? group.containers[0]?.name} ${group.listeners.map(({ protocol, port }) => `${protocol}/${port}`).join(', ')}`
        left.push({ host: old.name, what, why: `${pair.new.name} has no address of its family`, doubt: true })
      }
    }
  }
  return { name: tidy(name), hosts: [...hosts], tunnelPort: freePort(pairs), services, left }
}

/** What an administrator calls it: the Compose project, the container, the unit, the program. */
function nameOf({ containers, process, unit }: Group): string {
  const [container] = containers
  if (container) return tidy(container.compose?.project ?? container.name)
  const whole = process && knownProgram(process)?.unit
  return tidy((whole ?? unit)?.replace(/\.service$/, '') ?? process?.name ?? 'service')
}

/** As proto/model/names.ts wants a name. */
export function tidy(text: string): string {
  const plain = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 32)
    .replace(/^-+|-+$/g, '')
  return plain === '' ? 'service' : plain
}

/** With a number behind it where the name is taken. */
export function freeName(name: string, taken: readonly string[]): string {
  if (!taken.includes(name)) return name
  for (let n = 2; ; n++) {
    const next = `${name.slice(0, 28).replace(/-+$/, '')}-${n}`
    if (!taken.includes(next)) return next
  }
}

/** The first from 51820 on that nobody listens on, on all hosts. */
function freePort(pairs: readonly DraftPair[]): number {
  const taken = new Set(
    pairs
      .flatMap(({ old, new: after }) => [...old.survey.listeners, ...after.survey.listeners])
      .filter(({ protocol }) => protocol === 'udp')
      .map(({ port }) => port),
  )
  let port = defaultTunnelPort
  while (taken.has(port)) port++
  return port
}
