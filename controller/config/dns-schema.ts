/** The part of fleet.yaml about names: `names:` of a service, and `dns:`. */
import type { Ip } from '../../proto/model/address.js'
import { type Parsed, parseIp, quote } from '../../proto/parse.js'
import { command, duration, list, mapping, matchingText, parsedText } from './schema-parts.js'

const label = '[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?'
const domainPattern = new RegExp(`^${label}(\\.${label})+\\.?$`, 'i')

/** Letters, digits, - and _ (RFC 1123 2.1, RFC 2181 11), at most 253 characters, more than one label. */
export const domainName = parsedText(
  (text): Parsed<string> => {
    const plain = text.replace(/\.$/, '').toLowerCase()
    if (domainPattern.test(text) && plain.length <= 253) return { ok: true, value: plain }
    return { ok: false, found: quote(text), allowed: 'a domain name such as www.example.org' }
  },
  'a domain name such as www.example.org',
  { description: 'A domain name such as www.example.org' },
)

const serverForms = 'ADDRESS or ADDRESS:PORT ([ADDRESS]:PORT for IPv6)'

export interface NameServerEntry {
  ip: Ip
  port: number
}

function parseNameServer(text: string): Parsed<NameServerEntry> {
  const refused = { ok: false as const, found: quote(text), allowed: serverForms }
  // Loopback is where many a machine's own resolver is.
  const plain = parseIp(text)
  if (plain.ok) return { ok: true, value: { ip: plain.value, port: 53 } }
  const match = /^(?:\[([^\]]+)\]|([^:]+)):([1-9]\d{0,4})$/.exec(text)
  if (match === null) return refused
  const ip = parseIp(match[1] ?? match[2]!)
  const port = Number(match[3])
  const bracketed = match[1] !== undefined
  if (!ip.ok || port > 65535 || bracketed !== ip.value.includes(':')) return refused
  return { ok: true, value: { ip: ip.value, port } }
}

const nameServer = parsedText(parseNameServer, serverForms, { description: `A name server: ${serverForms}` })

const update = mapping(
  {
    server: nameServer.optional().meta({ description: "The zone's primary; default: as its SOA record names it" }),
    key: matchingText(/^\P{Cc}+$/u, "the path of the TSIG key's file").meta({
      description: 'A file as tsig-keygen(8) writes it, readable for its owner alone. The key itself never stands here',
    }),
  },
  'a mapping with server and key',
)

export const dns = mapping(
  {
    resolvers: list(nameServer, 'a list of one name server or more')
      .optional()
      .meta({ description: "Whom fleetmove dns asks; default: this machine's resolvers and well-known public ones" }),
    ttl: duration.prefault('60s').meta({ description: 'What the time to live is lowered to before a record changes' }),
    update: update.optional().meta({ description: 'Changes records by RFC 2136, with TSIG, through nsupdate(1)' }),
    hook: command.optional().meta({
      description: 'Changes a record at any other provider: a command with FLEETMOVE_DNS_* in its environment',
    }),
  },
  'a mapping with resolvers, ttl, update and hook',
).superRefine((entry, context) => {
  if (entry.update === undefined || entry.hook === undefined) return
  context.addIssue({
    code: 'custom',
    message: 'one of update and hook',
    path: ['hook'],
    params: { at: 'key', found: 'hook besides update' },
  })
})
