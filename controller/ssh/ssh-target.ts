import { FleetmoveError } from '../../proto/model/error.js'

/** `[user@]host[:port]` as it stands in fleet.yaml or in a ProxyJump; what is left away is undefined. */
export interface SshTarget {
  user: string | undefined
  host: string
  port: number | undefined
}

const bad = (text: string, why: string): FleetmoveError =>
  new FleetmoveError('usage', {
    message: `"${text}" is not an SSH destination: ${why}`,
    hint: 'Write [user@]host[:port]; an IPv6 address with a port stands in brackets: root@[2001:db8::1]:2222.',
  })

/**
 * Parses `user@host:port`. IPv6 stands in brackets (RFC 3986, 3.2.2) or bare without a port.
 *
 * @throws FleetmoveError('usage')
 */
export const parseSshTarget = (text: string): SshTarget => {
  // Not repeated: it would stand in logs.
  if (/^[^@]*:.*@/.test(text)) {
    throw new FleetmoveError('usage', {
      message: 'a password stands in an SSH destination',
      hint: 'write [user@]host[:port] without it: SSH keys and the agent log in',
    })
  }
  const at = text.lastIndexOf('@')
  const user = at === -1 ? undefined : text.slice(0, at)
  const rest = text.slice(at + 1)
  const match =
    /^\[([^\]]+)\](?::(\d+))?$/.exec(rest) ?? (isBareIpv6(rest) ? [rest, rest] : /^([^:]+)(?::(\d+))?$/.exec(rest))
  const host = match?.[1]
  if (host === undefined) throw bad(text, 'no host and port can be read from it')
  // A leading dash would be an option of ssh(1); spaces and control characters are in no host name.
  if (/^-|[\s\p{Cc}]/u.test(host)) throw bad(text, `"${host}" can't be a host name`)
  if (user !== undefined && (user === '' || /^-|[\s\p{Cc}]/u.test(user))) throw bad(text, `"${user}" can't be a user`)
  const port = match?.[2] === undefined ? undefined : Number(match[2])
  if (port !== undefined && (port < 1 || port > 65535)) throw bad(text, `port ${port} is not between 1 and 65535`)
  return { user, host, port }
}

const isBareIpv6 = (text: string): boolean => text.split(':').length > 2 && /^[0-9a-f:.]+(%[\w.-]+)?$/i.test(text)
