/** The file system that every test host starts from: Debian's packages alone, made once and kept. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { collect, hostEnvironment } from '../../cli/lab/exec.js'

/** Where trees and boxes are kept: FLEETMOVE_CACHE, or what hier(7) has for it. */
export const cacheDirectory = process.env.FLEETMOVE_CACHE ?? '/var/cache/fleetmove'

/** Of the installed services, those that a scenario starts when it wants them; and timers that would work at odd times. */
export const disabled = [
  ...['docker.service', 'docker.socket', 'containerd.service', 'firewalld.service', 'ufw.service', 'nginx.service'],
  ...['openvpn.service', 'e2scrub_reap.service', 'e2scrub_all.timer', 'apt-daily.timer', 'apt-daily-upgrade.timer'],
  ...['dpkg-db-backup.timer', 'fstrim.timer', 'nftables.service', 'logrotate.timer'],
]

/** Shell, run by mmdebstrap with the tree as $1. Host keys and the machine's id are every host's own. */
const customize = `set -eu
systemctl -q --root="$1" disable ${disabled.join(' ')} 2>/dev/null || true
systemctl -q --root="$1" enable systemd-networkd.service ssh.service
rm -f "$1"/etc/ssh/ssh_host_* "$1"/var/lib/dbus/machine-id "$1"/etc/resolv.conf
: >"$1"/etc/machine-id
rm -rf "$1"/usr/share/doc "$1"/usr/share/man "$1"/usr/share/locale "$1"/var/lib/apt/lists
`

export const packageList = (directory: string): string[] =>
  readFileSync(join(directory, 'packages.txt'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))

/** A short name for some content. */
export const contentKey = (...parts: string[]): string =>
  createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 16)

/**
 * @param directory vagrant/box
 * @param suite Debian's name for the release
 * @returns the tree's path; it is made where there is none for this content
 */
export async function rootTree(directory: string, suite: string, say: (line: string) => void): Promise<string> {
  const packages = packageList(directory).join(',')
  const tree = join(cacheDirectory, `root-${suite}-${contentKey(suite, packages, customize)}`)
  if (existsSync(tree)) return tree
  say(`making the hosts' file system (${suite}) once, in ${tree}`)
  await mkdir(cacheDirectory, { recursive: true })
  const fresh = `${tree}.${process.pid}`
  await makeTree(fresh, suite, packages, [`--customize-hook=${customize}`])
  await rename(fresh, tree).catch(async (error: NodeJS.ErrnoException) => {
    // Another run was faster.
    if (!existsSync(tree)) throw error
    await rm(fresh, { recursive: true, force: true })
  })
  return tree
}

/** Debian's smallest system with these packages; nothing is left of one that fails. */
export async function makeTree(path: string, suite: string, packages: string, hooks: readonly string[]): Promise<void> {
  const args = ['--quiet', '--variant=minbase', `--include=${packages}`, ...hooks, suite, path]
  const made = await collect(spawn('nice', ['mmdebstrap', ...args], { env: hostEnvironment() }), { what: 'mmdebstrap' })
  if (made.code === 0) return
  await rm(path, { recursive: true, force: true })
  throw new Error(`mmdebstrap made no file system: ${made.stderr.trim().split('\n').slice(-5).join('; ')}`)
}
