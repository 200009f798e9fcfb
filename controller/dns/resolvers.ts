import { getServers } from 'node:dns'
import { parseIp } from '../../proto/parse.js'
import type { Fleet, NameServer } from '../config/fleet.js'

/** Three that much of the world asks, each run by another company: Cloudflare, Google, Quad9. */
const wellKnown = ['1.1.1.1', '8.8.8.8', '9.9.9.9']

/** Whom to ask what the world is told: those of fleet.yaml; without any, this machine's and well-known ones. */
export function knownResolvers(fleet: Fleet): (NameServer & { name: string })[] {
  const chosen = fleet.dns.resolvers
  if (chosen) return chosen.map((server) => ({ ...server, name: 'resolver' }))
  const own = getServers().map((text) => ({ text, name: "this machine's" }))
  const all = [...own, ...wellKnown.map((text) => ({ text, name: 'public' }))]
  const named = all.flatMap(({ text, name }) => {
    // getServers writes a port only where it isn't 53.
    const [, bracketed, plain] = /^(?:\[([^\]]+)\](?::\d+)?|(.+))$/.exec(text) ?? []
    const ip = parseIp(bracketed ?? plain ?? '')
    return ip.ok ? [{ ip: ip.value, port: 53, name }] : []
  })
  return named.filter(({ ip }, i) => named.findIndex((other) => other.ip === ip) === i)
}
