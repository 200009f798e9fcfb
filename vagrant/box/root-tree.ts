/** The file system that every test host starts from: Debian's packages alone, made once and kept. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { collect, hostEnvironment } from '../../cli/lab/exec.js'

/** Where trees and boxes are kept: FLEETMOVE_CACHE, or what hier(7) has for it. */
export const cacheDirectory = process.env.FLEETMOVE_CACHE ?? '/var/cache/fleetmove'

/** Debian's word for the release that hosts run. */
export const usualRelease = 'bookworm'

/** Of the installed services, those that a scenario starts when it wants them; and timers that would work at odd times. */
const disabled = [
  ...['docker.service', 'docker.socket', 'containerd.service', 'firewalld.service', 'ufw.service', 'nginx.service'],
  ...['openvpn.service', 'e2scrub_reap.service', 'e2scrub_all.timer', 'apt-daily.timer', 'apt-daily-upgrade.timer'],
  ...['dpkg-db-backup.timer', 'fstrim.timer', 'nftables.service', 'logrotate.timer'],
]

/** What a virtual machine needs beside what every host has. */
const kernelPackages = ['linux-image-cloud-amd64', 'initramfs-tools', 'busybox', 'zstd']

/** The initial file system holds only what finds this disk: a large one costs an emulated processor seconds. */
const beforeKernel = `set -eu
mkdir -p "$1/etc/initramfs-tools/conf.d"
printf 'MODULES=list\\nCOMPRESS=gzip\\n' >"$1/etc/initramfs-tools/conf.d/practice"
printf 'virtio_ring\\nvirtio_pci\\nvirtio_blk\\nvirtio_net\\next4\\n' >"$1/etc/initramfs-tools/modules"
`

/** Shell, run by mmdebstrap with the tree as $1. Host keys and the machine's id are every host's own. */
const customize = `set -eu
systemctl -q --root="$1" disable ${disabled.join(' ')} 2>/dev/null || true
systemctl -q --root="$1" enable systemd-networkd.service ssh.service
rm -f "$1"/etc/ssh/ssh_host_* "$1"/var/lib/dbus/machine-id "$1"/etc/resolv.conf
: >"$1"/etc/machine-id
rm -rf "$1"/usr/share/doc "$1"/usr/share/man "$1"/usr/share/locale "$1"/var/lib/apt/lists
`

/** A line is a package, or a release and a package that only this one has. */
const packageList = (directory: string, release: string): string[] =>
  readFileSync(join(directory, 'packages.txt'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(' '))
    .filter((words) => words.length === 1 || words[0] === release)
    .map((words) => words.at(-1)!)

/** A short name for some content. */
export const contentKey = (...parts: string[]): string =>
  createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 16)

/**
 * @param directory vagrant/box
 * @param release Debian's word for it
 * @param kernel whether virtual machines are made of it, too
 * @returns the tree's path; it is made where there is none for this content
 */
export async function rootTree(
  directory: string,
  release: string,
  say: (line: string) => void,
  kernel = false,
): Promise<string> {
  const packages = [...packageList(directory, release), ...(kernel ? kernelPackages : [])].join(',')
  const hooks = [...(kernel ? [`--essential-hook=${beforeKernel}`] : []), `--customize-hook=${customize}`]
  const tree = join(cacheDirectory, `root-${release}-${contentKey(release, packages, ...hooks)}`)
  if (existsSync(tree)) return tree
  say(`making the hosts' file system (${release}) once, in ${tree}`)
  await mkdir(cacheDirectory, { recursive: true })
  const fresh = `${tree}.${process.pid}`
  await makeTree(fresh, release, packages, hooks)
  await rename(fresh, tree).catch(async (error: NodeJS.ErrnoException) => {
    // Another run was faster.
    if (!existsSync(tree)) throw error
    await rm(fresh, { recursive: true, force: true })
  })
  return tree
}

/** Debian's smallest system with these packages; nothing is left of one that fails. */
async function makeTree(path: string, release: string, packages: string, hooks: readonly string[]): Promise<void> {
  // A torn tree is thrown away: dpkg need not wait for the disk.
  const quick = ['--quiet', '--variant=minbase', '--dpkgopt=force-unsafe-io']
  const args = [...quick, `--include=${packages}`, ...hooks, release, path]
  const made = await collect(spawn('mmdebstrap', args, { env: hostEnvironment() }), { what: 'mmdebstrap' })
  if (made.code === 0) return
  await rm(path, { recursive: true, force: true })
  throw new Error(`mmdebstrap made no file system: ${made.stderr.trim().split('\n').slice(-5).join('; ')}`)
}
