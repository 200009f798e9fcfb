/**
 * IP addresses in canonical text: IPv4 dotted, IPv6 as in RFC 5952. Values are made only by
 * `parseIp` in proto/parse.ts, so whoever holds an `Ip` may put it into a ruleset as it stands.
 */
declare const brand: unique symbol
export type Ip = string & { readonly [brand]: 'Ip' }
export type Family = 4 | 6

/** The family of an address: canonical IPv6 text always holds a colon, IPv4 never does. */
export const familyOf = (ip: Ip): Family => (ip.includes(':') ? 6 : 4)

/** `address:port`, with brackets around IPv6 (RFC 3986, 3.2.2). */
export const hostPort = (ip: Ip, port: number): string => (familyOf(ip) === 6 ? `[${ip}]:${port}` : `${ip}:${port}`)
