import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { FleetmoveError } from '../../proto/model/error.js'
import { collect, hostEnvironment } from './exec.js'
import type { LabKeys } from './host-files.js'
import { labTopology } from './topology.js'

/** The user's key and every sshd host's, made at once; nothing of them stays on the machine's disk. */
export async function makeKeys(dir: string): Promise<LabKeys> {
  const names = Object.keys(labTopology.hosts).filter((name) => labTopology.hosts[name]?.sshd)
  const keys = join(dir, 'keys')
  await mkdir(keys, { mode: 0o700 })
  const script = `cd "$1"; shift
for name; do ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$name" & pids="$pids $!"; done
for pid in $pids; do wait "$pid" || exit 1; done`
  // A dot can't stand in a host's name.
  const user = 'user.lab'
  const made = await collect(spawn('sh', ['-c', script, 'sh', keys, user, ...names], { env: hostEnvironment() }), {
    what: 'ssh-keygen',
  })
  if (made.code !== 0)
    throw new FleetmoveError('internal', { message: `ssh-keygen made no keys: ${made.stderr.trim()}` })
  const pair = async (name: string) => ({
    private: await readFile(join(keys, name), 'utf8'),
    public: (await readFile(join(keys, `${name}.pub`), 'utf8')).trim(),
  })
  const own = await pair(user)
  const hosts = new Map(await Promise.all(names.map(async (name) => [name, await pair(name)] as const)))
  await rm(keys, { recursive: true })
  return { userPrivate: own.private, userPublic: own.public, hosts }
}

/** crypt(3), SHA-512, by perl: openssl may not be installed. The password goes by standard input, unlisted. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(9)
    .toString('base64url')
    .replace(/[^a-zA-Z0-9]/g, '.')
  const hashed = await collect(
    spawn('perl', ['-e', `print crypt(<STDIN>, '$6$${salt}$')`], { env: hostEnvironment() }),
    { input: password, what: 'perl' },
  )
  if (!hashed.stdout.startsWith('$6$'))
    throw new FleetmoveError('internal', { message: `perl can't hash a password: ${hashed.stderr.trim()}` })
  return hashed.stdout
}
