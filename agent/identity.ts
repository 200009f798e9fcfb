import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto'
import { constants } from 'node:fs'
import { link, lstat, mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { FleetmoveError } from '../proto/model/error.js'
import { selfSigned } from './self-signed.js'
import { keyFiles } from './tunnel/key-files.js'

export type IdentityKind = 'wireguard' | 'openvpn'

/** A move lasts days, but an abandoned tunnel must not fail of age. */
const certificateDays = 3650

/**
 * The public half of this host's tunnel key; the key is made on the first call and never leaves the
 * host. Calls at the same time, also of several processes, agree on one key.
 * @param dir the keys' directory (`paths.keys`), made with mode 0700 where it is missing
 * @returns WireGuard: the public key, base64. OpenVPN: SHA-256 of the certificate, `AA:BB:…`.
 * @throws FleetmoveError 'ledger' where a file is unreadable, of the wrong kind, or open to other users
 */
export const identity = async (kind: IdentityKind, dir: string): Promise<string> => {
  await secureDirectory(dir)
  return kind === 'wireguard' ? wireguardIdentity(dir) : openvpnIdentity(dir)
}

const wireguardIdentity = async (dir: string): Promise<string> => {
  const path = join(dir, keyFiles.wireguard)
  const text = await keepSecret(path, () => `${clamped(randomBytes(32)).toString('base64')}\n`)
  const key = Buffer.from(text.trim(), 'base64')
  if (key.length !== 32) throw damaged(path, 'is not a WireGuard key')
  const privateKey = createPrivateKey({ key: Buffer.concat([x25519Prefix, key]), format: 'der', type: 'pkcs8' })
  // The raw key is the last 32 bytes of its SPKI form (RFC 8410, 4).
  return createPublicKey(privateKey).export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64')
}

/** PKCS #8 of an X25519 key up to its 32 bytes (RFC 8410, 7). */
const x25519Prefix = Buffer.from('302e020100300506032b656e04220420', 'hex')

/** As `wg genkey` writes it (RFC 7748, 5): X25519 does this anyway, but then what is stored is what is used. */
const clamped = (key: Buffer): Buffer => {
  key[0]! &= 248
  key[31] = (key[31]! & 127) | 64
  return key
}

const openvpnIdentity = async (dir: string): Promise<string> => {
  const keyPath = join(dir, keyFiles.openvpnKey)
  const certificatePath = join(dir, keyFiles.openvpnCertificate)
  const keyText = await keepSecret(keyPath, () =>
    generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
      .privateKey.export({ type: 'pkcs8', format: 'pem' })
      .toString(),
  )
  const key = readable(keyPath, 'is not a private key', () => createPrivateKey(keyText))
  const certificateText = await keepSecret(certificatePath, () =>
    pem('CERTIFICATE', selfSigned(key, 'fleetmove', certificateDays, new Date())),
  )
  const certificate = readable(certificatePath, 'is not a certificate', () => new X509Certificate(certificateText))
  if (!certificate.checkPrivateKey(key)) throw damaged(certificatePath, `does not belong to the key in ${keyPath}`)
  return certificate.fingerprint256
}

const pem = (label: string, der: Buffer): string =>
  `-----BEGIN ${label}-----\n${der.toString('base64').replace(/.{64}(?=.)/g, '$&\n')}\n-----END ${label}-----\n`

const readable = <T>(path: string, fault: string, read: () => T): T => {
  try {
    return read()
  } catch (cause) {
    throw damaged(path, fault, cause)
  }
}

/** What the file holds; where there is none, what `make` gives, on disk before it is returned. */
const keepSecret = async (path: string, make: () => string): Promise<string> => {
  const found = await readSecret(path)
  if (found !== null) return found
  const content = make()
  const fresh = `${path}.${randomBytes(6).toString('hex')}`
  const file = await open(fresh, 'wx', 0o600)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
  try {
    // A link, not a rename: of two that make a key at the same time the first one's stays.
    await link(fresh, path)
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
  } finally {
    await rm(fresh, { force: true })
  }
  await syncDirectory(join(path, '..'))
  const kept = await readSecret(path)
  if (kept === null) throw damaged(path, 'vanished while it was made')
  return kept
}

const readSecret = async (path: string): Promise<string | null> => {
  let file: Awaited<ReturnType<typeof open>>
  try {
    // O_NONBLOCK: a pipe of that name must not hang the agent.
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null
    throw damaged(path, hasCode(error, 'ELOOP') ? 'is a symbolic link' : 'cannot be opened', error)
  }
  try {
    const stat = await file.stat()
    if (!stat.isFile()) throw damaged(path, 'is not a regular file')
    if (stat.uid !== process.geteuid!()) throw exposed(path, `belongs to user ${stat.uid}`)
    if ((stat.mode & 0o077) !== 0) throw exposed(path, `has mode ${octal(stat.mode)}, so other users may have read it`)
    return await file.readFile('utf8')
  } finally {
    await file.close()
  }
}

const secureDirectory = async (dir: string): Promise<void> => {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const stat = await lstat(dir)
  const fault = !stat.isDirectory()
    ? 'is not a directory'
    : stat.uid !== process.geteuid!()
      ? `belongs to user ${stat.uid}`
      : (stat.mode & 0o077) !== 0
        ? `has mode ${octal(stat.mode)}, so other users can look into it`
        : null
  if (fault === null) return
  throw new FleetmoveError('ledger', {
    message: `The directory of the tunnel's keys, ${dir}, ${fault}`,
    hint: `Make it a directory of the agent's own user with mode 0700 (chmod 700 ${dir}) after you have seen to who changed it.`,
  })
}

/** A new name is on disk only when its directory is. */
const syncDirectory = async (dir: string): Promise<void> => {
  const directory = await open(dir, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

const exposed = (path: string, fault: string): FleetmoveError =>
  new FleetmoveError('ledger', {
    message: `The tunnel's key in ${path} ${fault}`,
    hint: `If nobody else can have read it, run: chown root: ${path} && chmod 600 ${path}. Otherwise delete it and run 'fleetmove up' again: a new key is made and the peer is told.`,
  })

const damaged = (path: string, fault: string, cause?: unknown): FleetmoveError =>
  new FleetmoveError('ledger', {
    message: `The tunnel's key file ${path} ${fault}`,
    hint: `Delete it and run 'fleetmove up' again: a new key is made and the peer is told.`,
    cause,
  })

const octal = (mode: number): string => `0${(mode & 0o777).toString(8)}`
const hasCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException | null)?.code === code
