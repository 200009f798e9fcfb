/**
 * known_hosts as OpenSSH reads it (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). ssh2 has no notion of the
 * file; the order of judgement follows check_host_key() in OpenSSH's sshconnect.c.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

export interface KnownHostsEntry {
  file: string
  line: number
  marker: 'none' | 'revoked' | 'cert-authority'
  hosts: string
  keyType: string
  /** The public key blob of RFC 4253, 6.6. */
  key: Buffer
}

export type HostKeyVerdict =
  | { kind: 'known' }
  | { kind: 'unknown' }
  | { kind: 'changed'; entry: KnownHostsEntry }
  | { kind: 'revoked'; entry: KnownHostsEntry }

/** Parses one file. Lines that can't be read are skipped, as OpenSSH does. */
export const parseKnownHosts = (file: string, text: string): KnownHostsEntry[] => {
  const entries: KnownHostsEntry[] = []
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const words = line.split(/[ \t]+/)
    const marker = words[0]?.startsWith('@') ? words.shift() : undefined
    const [hosts, keyType, encoded] = words
    if (hosts === undefined || keyType === undefined || encoded === undefined) continue
    if (marker !== undefined && marker !== '@revoked' && marker !== '@cert-authority') continue
    const key = Buffer.from(encoded, 'base64')
    if (hostKeyType(key) !== keyType) continue
    entries.push({
      file,
      line: index + 1,
      marker: marker === '@revoked' ? 'revoked' : marker === '@cert-authority' ? 'cert-authority' : 'none',
      hosts,
      keyType,
      key,
    })
  }
  return entries
}

/** The key type at the head of a public key blob (`ssh-ed25519`), '' if it holds none. */
export const hostKeyType = (key: Buffer): string => {
  if (key.length < 4) return ''
  const length = key.readUInt32BE(0)
  return length > 64 || key.length < 4 + length ? '' : key.toString('latin1', 4, 4 + length)
}

/** SHA-256 fingerprint as `ssh-keygen -l` prints it: base64 without padding. */
export const fingerprint = (key: Buffer): string =>
  `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`

/**
 * Judges the key that a host has presented.
 *
 * @param names the host's names, best first: `[host]:port` and then plain `host`. As in OpenSSH a
 *   later name can only make a key known, never changed: another service's key is no contradiction.
 */
export const judgeHostKey = (
  entries: readonly KnownHostsEntry[],
  names: readonly string[],
  key: Buffer,
): HostKeyVerdict => {
  for (const name of names) {
    const revoked = matching(entries, name).find((entry) => entry.marker === 'revoked' && entry.key.equals(key))
    if (revoked !== undefined) return { kind: 'revoked', entry: revoked }
  }
  for (const name of names) {
    const plainKeys = matching(entries, name).filter((entry) => entry.marker === 'none')
    if (plainKeys.some((entry) => entry.key.equals(key))) return { kind: 'known' }
    // Of any type: the known types were asked for first, so a host that still had them would have used one.
    const other = plainKeys.find((entry) => entry.keyType === hostKeyType(key)) ?? plainKeys[0]
    if (other !== undefined && name === names[0]) return { kind: 'changed', entry: other }
  }
  return { kind: 'unknown' }
}

/** The types of the keys that known_hosts has for a host, in the order of the files. */
export const knownKeyTypes = (entries: readonly KnownHostsEntry[], names: readonly string[]): string[] => [
  ...new Set(
    names.flatMap((name) =>
      matching(entries, name)
        .filter((entry) => entry.marker === 'none')
        .map((entry) => entry.keyType),
    ),
  ),
]

/** A line for this host that trusts a certificate authority, which ssh2 can't follow. */
export const certAuthorityFor = (
  entries: readonly KnownHostsEntry[],
  names: readonly string[],
): KnownHostsEntry | undefined =>
  names.flatMap((name) => matching(entries, name)).find((entry) => entry.marker === 'cert-authority')

const matching = (entries: readonly KnownHostsEntry[], name: string): KnownHostsEntry[] =>
  entries.filter((entry) => matchesHosts(entry.hosts, name))

/** Whether the first field of a line names a host: hashed, or patterns with `*`, `?` and `!`. */
export const matchesHosts = (hosts: string, name: string): boolean => {
  if (hosts.startsWith('|')) return matchesHash(hosts, name)
  let matched = false
  for (const pattern of hosts.split(',')) {
    const negated = pattern.startsWith('!')
    if (!matchesPattern(negated ? pattern.slice(1) : pattern, name)) continue
    if (negated) return false
    matched = true
  }
  return matched
}

/** `|1|salt|hash`: HMAC-SHA1 of the name, keyed by the salt (OpenSSH's hostfile.c, host_hash). */
const matchesHash = (hosts: string, name: string): boolean => {
  const [, version, salt, hash] = hosts.split('|')
  if (version !== '1' || salt === undefined || hash === undefined) return false
  const want = Buffer.from(hash, 'base64')
  const got = createHmac('sha1', Buffer.from(salt, 'base64')).update(name.toLowerCase()).digest()
  return want.length === got.length && timingSafeEqual(want, got)
}

const matchesPattern = (pattern: string, name: string): boolean => {
  // Written out as a loop (and not as a RegExp) so that a file of many stars can't take exponential time.
  const glob = pattern.toLowerCase()
  const text = name.toLowerCase()
  let at = 0
  let star = -1
  let resume = 0
  let position = 0
  while (position < text.length) {
    const char = glob[at]
    if (char === '*') {
      star = at++
      resume = position
    } else if (char === '?' || char === text[position]) {
      at++
      position++
    } else if (star !== -1) {
      at = star + 1
      position = ++resume
    } else return false
  }
  while (glob[at] === '*') at++
  return at === glob.length
}
