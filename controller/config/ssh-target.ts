import { type Parsed, parseIp, quote } from '../../proto/parse.js'

export interface SshTarget {
  /** undefined: what ~/.ssh/config says, else the local user. */
  user: string | undefined
  /** A host name, an alias in ~/.ssh/config, or an address; IPv6 without brackets. */
  host: string
  /** undefined: what ~/.ssh/config says, else 22. */
  port: number | undefined
}

const allowed = '[USER@]HOST[:PORT] with an IPv6 address in brackets'

/**
 * Takes `[user@]host[:port]` apart. Nothing here may begin with `-`: ssh(1) would read it as an option.
 * A password in it is refused and not repeated.
 */
export function parseSshTarget(text: string): Parsed<SshTarget> {
  const at = text.lastIndexOf('@')
  if (/^[^@/]*:.*@/.test(text)) {
    return { ok: false, found: 'a password', allowed: `${allowed}, and no secret: SSH keys or the agent log in` }
  }
  const user = at === -1 ? undefined : text.slice(0, at)
  const match = /^(?:\[([^\]]*)\]|([A-Za-z0-9_][A-Za-z0-9._-]*))(?::([1-9]\d{0,4}))?$/.exec(text.slice(at + 1))
  const address = match?.[1] === undefined ? undefined : parseIp(match[1])
  const host = address === undefined ? match?.[2] : address.ok ? address.value : undefined
  const port = match?.[3] === undefined ? undefined : Number(match[3])
  const sound = (user === undefined || /^[A-Za-z0-9_][A-Za-z0-9._\\-]*$/.test(user)) && (port ?? 1) <= 65535
  if (host === undefined || !sound) return { ok: false, found: quote(text), allowed }
  return { ok: true, value: { user, host, port } }
}
