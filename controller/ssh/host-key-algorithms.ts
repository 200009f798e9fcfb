/** What ssh2 can verify, best first; the order of OpenSSH's own default. */
const supported = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
] as const
export type HostKeyAlgorithm = (typeof supported)[number]

/** An RSA key bears the type `ssh-rsa`, but signs with SHA-2 (RFC 8332); SHA-1 is not offered. */
const algorithmsOf = (keyType: string): string[] =>
  keyType === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [keyType]

/**
 * The host key algorithms to offer: first those for which known_hosts has a key, as OpenSSH does
 * (order_hostkeyalgs), or a host that is known by one key would present another.
 *
 * @param configured HostKeyAlgorithms of the user's configuration; empty for all.
 */
export const hostKeyAlgorithms = (knownTypes: readonly string[], configured: readonly string[]): HostKeyAlgorithm[] => {
  const allowed = supported.filter((name) => configured.length === 0 || configured.includes(name))
  const known = new Set(knownTypes.flatMap(algorithmsOf))
  return [...allowed.filter((name) => known.has(name)), ...allowed.filter((name) => !known.has(name))]
}
