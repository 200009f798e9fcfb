import { createPrivateKey, createPublicKey, diffieHellman, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { identity } from '../../../agent/identity.js'
import { selfSigned } from '../../../agent/self-signed.js'

let base: string
let dir: string
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'fleetmove-identity-'))
  dir = join(base, 'state', 'keys')
})
afterEach(() => rm(base, { recursive: true, force: true }))

const mode = async (path: string): Promise<number> => (await stat(path)).mode & 0o777
const refused = (kind: 'wireguard' | 'openvpn', message: RegExp, hint: RegExp) =>
  expect(identity(kind, dir)).rejects.toMatchObject({
    code: 'ledger',
    message: expect.stringMatching(message),
    hint: expect.stringMatching(hint),
  })

describe.each(['wireguard', 'openvpn'] as const)('the %s identity', (kind) => {
  it('is made once, for root alone, and leaves nothing else behind', async () => {
    const first = await identity(kind, dir)
    expect(await identity(kind, dir)).toBe(first)
    expect(await mode(dir)).toBe(0o700)
    const names = await readdir(dir)
    expect(names.sort()).toEqual(kind === 'wireguard' ? ['wireguard.key'] : ['openvpn.crt', 'openvpn.key'])
    for (const name of names) expect(await mode(join(dir, name))).toBe(0o600)
  })

  it('is one for callers at the same time', async () => {
    const halves = await Promise.all(Array.from({ length: 8 }, () => identity(kind, dir)))
    expect(new Set(halves).size).toBe(1)
    expect(await identity(kind, dir)).toBe(halves[0])
  })

  it('is refused where others may have read the key', async () => {
    await identity(kind, dir)
    await chmod(join(dir, `${kind}.key`), 0o640)
    await refused(kind, /has mode 0640/, /chmod 600/)
  })

  it('is refused where the key is a symbolic link', async () => {
    await identity(kind, dir)
    await rm(join(dir, `${kind}.key`))
    await writeFile(join(base, 'elsewhere'), '', { mode: 0o600 })
    await symlink(join(base, 'elsewhere'), join(dir, `${kind}.key`))
    await refused(kind, /is a symbolic link/, /Delete it/)
  })

  it('is refused where others can look into the directory', async () => {
    await identity(kind, dir)
    await chmod(dir, 0o755)
    await refused(kind, /has mode 0755/, /chmod 700/)
  })

  it('is refused where the key is damaged', async () => {
    await identity(kind, dir)
    await writeFile(join(dir, `${kind}.key`), 'AAAA\n')
    await refused(kind, /is not a/, /Delete it/)
  })
})

it('belongs to the WireGuard key that was stored, which is clamped (RFC 7748, 5)', async () => {
  const half = await identity('wireguard', dir)
  const raw = Buffer.from((await readFile(join(dir, 'wireguard.key'), 'utf8')).trim(), 'base64')
  expect([raw.length, raw[0]! & 7, raw[31]! & 0xc0]).toEqual([32, 0, 0x40])
  // Who holds the public half agrees on a secret with who holds the stored key.
  const stored = createPrivateKey({
    key: {
      kty: 'OKP',
      crv: 'X25519',
      d: raw.toString('base64url'),
      x: Buffer.from(half, 'base64').toString('base64url'),
    },
    format: 'jwk',
  })
  const other = generateKeyPairSync('x25519')
  const published = createPublicKey({
    key: { kty: 'OKP', crv: 'X25519', x: Buffer.from(half, 'base64').toString('base64url') },
    format: 'jwk',
  })
  expect(diffieHellman({ privateKey: stored, publicKey: other.publicKey })).toEqual(
    diffieHellman({ privateKey: other.privateKey, publicKey: published }),
  )
})

it('makes the certificate anew where only the key is left, and refuses one of another key', async () => {
  await identity('openvpn', dir)
  const certificate = join(dir, 'openvpn.crt')
  await rm(certificate)
  const second = await identity('openvpn', dir)
  expect(new X509Certificate(await readFile(certificate)).fingerprint256).toBe(second)
  await rm(join(dir, 'openvpn.key'))
  await refused('openvpn', /does not belong to the key/, /Delete it/)
})

describe('a self-signed certificate', () => {
  const key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey
  const at = (now: string, days: number) => new X509Certificate(selfSigned(key, 'fleetmove', days, new Date(now)))

  it('is signed by its own key, names itself and signs no others', () => {
    const certificate = at('2026-03-01T12:00:00Z', 3650)
    expect(certificate.verify(createPublicKey(key))).toBe(true)
    expect(certificate.checkPrivateKey(key)).toBe(true)
    expect(certificate.checkIssued(certificate)).toBe(true)
    expect([certificate.subject, certificate.ca]).toEqual(['CN=fleetmove', false])
  })

  it('begins a day early and ends on time, on both sides of 2050 (RFC 5280, 4.1.2.5)', () => {
    expect(at('2026-03-01T12:00:00Z', 10)).toMatchObject({
      validFrom: 'Feb 28 12:00:00 2026 GMT',
      validTo: 'Mar 11 12:00:00 2026 GMT',
    })
    expect(at('2049-12-30T00:00:00Z', 10)).toMatchObject({
      validFrom: 'Dec 29 00:00:00 2049 GMT',
      validTo: 'Jan  9 00:00:00 2050 GMT',
    })
  })

  it('has a positive serial number in the shortest form, whatever the dice say', () => {
    const serials = Array.from({ length: 600 }, () => at('2026-03-01T12:00:00Z', 1).serialNumber)
    expect(new Set(serials).size).toBe(600)
    expect(serials.every((serial) => !serial.startsWith('-'))).toBe(true)
  })
})
