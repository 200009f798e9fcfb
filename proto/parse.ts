/**
 * The one place where untrusted text becomes a branded value. fleet.yaml and the wire codec both come
 * through here, so a value of type `Ip` or `Name` may be put into a ruleset or argv as it stands.
 */
import ipaddr from 'ipaddr.js'
import { familyOf, type Ip } from './model/address.js'
import type { Protocol } from './model/host-spec.js'
import { type Name, namePattern } from './model/names.js'

/**
 * A value, or why there is none. `found` is the text as it may be shown (quoted, control characters
 * escaped, cut to a bearable length); `allowed` says what would have been taken. The caller says where.
 */
export type Parsed<T> = { ok: true; value: T } | Refused
export interface Refused {
  ok: false
  found: string
  allowed: string
}

/** What listens: ports as clients see them, `from` and `to` inclusive, 1 to 65535. */
export interface Listener {
  protocol: Protocol
  ports: { from: number; to: number }
}

const shownLength = 80

/** Text from outside as it may stand in a message: in quotes, escaped, cut after 80 characters. */
export function quote(text: string): string {
  const cut = text.length > shownLength ? `${text.slice(0, shownLength)}…` : text
  // JSON leaves DEL and the C1 controls alone, and terminals obey some of them.
  return JSON.stringify(cut).replace(/[\u007f-\u009f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

const taken = <T>(value: T): Parsed<T> => ({ ok: true, value })
const refused = (text: string, allowed: string): Refused => ({ ok: false, found: quote(text), allowed })

/** The longest text of an IPv6 address: eight groups of which the last two are in dotted form. */
const longestIp = 45

/**
 * An IP address in canonical text: IPv4 as four decimal numbers, IPv6 as in RFC 5952. IPv4-mapped IPv6
 * (::ffff:a.b.c.d, RFC 4291 2.5.5.2: what a dual-stack socket calls an IPv4 client) becomes the IPv4
 * address that it is. Refused: zone ids, which mean something on one host only, and inet_aton(3)'s
 * short, octal and hexadecimal forms, which programs read in different ways.
 */
export function parseIp(text: string): Parsed<Ip> {
  if (text.includes('%')) return refused(text, 'an address without a zone (%…)')
  const plain = text.length > longestIp ? undefined : text.includes(':') ? readIp6(text) : readIp4(text)
  return plain === undefined ? refused(text, 'an IPv4 or IPv6 address') : taken(plain as Ip)
}

function readIp4(text: string): string | undefined {
  return ipaddr.IPv4.isValidFourPartDecimal(text) ? text : undefined
}

function readIp6(text: string): string | undefined {
  const groups = withoutDots(text)
  if (groups === undefined || !ipaddr.IPv6.isValid(groups)) return undefined
  const address = ipaddr.IPv6.parse(groups)
  return address.isIPv4MappedAddress() ? address.toIPv4Address().toString() : address.toRFC5952String()
}

/** A dotted tail as two hexadecimal groups: ipaddr.js reads octal there, and takes ::1.2.3.4 for a mapped address. */
function withoutDots(text: string): string | undefined {
  if (!text.includes('.')) return text
  const start = text.lastIndexOf(':') + 1
  const tail = readIp4(text.slice(start))
  if (tail === undefined) return undefined
  const [a, b, c, d] = tail.split('.').map(Number) as [number, number, number, number]
  return `${text.slice(0, start)}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`
}

/**
 * As `parseIp`, where one host's address is meant: refuses addresses that are nobody's or everybody's
 * (unspecified, multicast, broadcast), and those that other hosts can't reach by themselves (loopback,
 * and IPv6 link-local, which needs a zone). IPv4 link-local is taken: some providers use it.
 */
export function parseHostIp(text: string): Parsed<Ip> {
  const parsed = parseIp(text)
  if (!parsed.ok) return parsed
  const range = ipaddr.parse(parsed.value).range()
  const unfit =
    ['unspecified', 'multicast', 'broadcast', 'loopback'].includes(range) ||
    (range === 'linkLocal' && familyOf(parsed.value) === 6)
  if (!unfit) return parsed
  const kind = range === 'linkLocal' ? 'link-local' : range
  return refused(text, `an address of one host that others can reach (this one is ${kind})`)
}

/**
 * A prefix, `198.18.0.0/16` or `2001:db8::/32` (RFC 4632, RFC 4291), in canonical text and without bits
 * beyond its length; a plain address is the prefix of that one host.
 */
export function parsePrefix(text: string): Parsed<string> {
  const allowed = 'an address, or a prefix such as 198.18.0.0/16 or 2001:db8::/32'
  const [address = '', length, more] = text.split('/')
  const parsed = parseIp(address)
  if (!parsed.ok || more !== undefined) return refused(text, allowed)
  const most = familyOf(parsed.value) === 4 ? 32 : 128
  if (length === undefined) return taken(`${parsed.value}/${most}`)
  if (!/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > most) return refused(text, allowed)
  const prefix = `${parsed.value}/${length}`
  const network = most === 32 ? ipaddr.IPv4.networkAddressFromCIDR(prefix) : ipaddr.IPv6.networkAddressFromCIDR(prefix)
  const base = parseIp(network.toString())
  return base.ok ? taken(`${base.value}/${length}`) : refused(text, allowed)
}

/** A name that the operator chose: [a-z0-9-], 1 to 32 characters, beginning with a letter or digit. */
export function parseName(text: string): Parsed<Name> {
  if (namePattern.test(text)) return taken(text as Name)
  return refused(text, 'a name of 1 to 32 characters of a-z, 0-9 and -, beginning with a letter or digit')
}

/** `tcp/443`, or a range `udp/30000-30100`. Decimal, no leading zeros; a range may be one port long. */
export function parseListener(text: string): Parsed<Listener> {
  const match = /^(tcp|udp)\/([1-9]\d{0,4})(?:-([1-9]\d{0,4}))?$/.exec(text)
  const from = Number(match?.[2])
  const to = Number(match?.[3] ?? match?.[2])
  if (match !== null && from <= to && to <= 65535) {
    return taken({ protocol: match[1] as Protocol, ports: { from, to } })
  }
  return refused(
    text,
    text.includes('-')
      ? 'tcp/FROM-TO or udp/FROM-TO with ports 1 to 65535, FROM not above TO'
      : 'tcp/PORT or udp/PORT with PORT 1 to 65535',
  )
}

/** A listener as fleet.yaml writes it: the inverse of `parseListener`. */
export function listenerText({ protocol, ports: { from, to } }: Listener): string {
  return from === to ? `${protocol}/${from}` : `${protocol}/${from}-${to}`
}

/**
 * Where a redirect leads: the request's path is put behind it, so it has no query and no fragment. https alone: what
 * answers on the old host speaks HTTP, and leading back there would go round in circles.
 * @returns in canonical form (WHATWG URL), without a slash at its end
 */
export function parseRedirect(text: string): Parsed<string> {
  const allowed = 'https://HOST[:PORT][/PATH], without a login, a query or a fragment'
  const url = text.length <= 500 && /^https:\/\/[^\s?#]+$/i.test(text) && URL.canParse(text) ? new URL(text) : undefined
  // What was found may hold a secret.
  if (url && (url.username !== '' || url.password !== '')) return { ok: false, found: 'a login', allowed }
  return url ? taken(url.href.replace(/\/+$/, '')) : refused(text, allowed)
}
