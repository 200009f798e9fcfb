/** Where agent/identity.ts keeps this host's keys, by name under the keys' directory. */
export const keyFiles = {
  /** The private key, base64, as `wg set … private-key FILE` reads it. */
  wireguard: 'wireguard.key',
  /** PKCS #8, PEM. */
  openvpnKey: 'openvpn.key',
  /** The self-signed certificate of that key, PEM. */
  openvpnCertificate: 'openvpn.crt',
} as const
