/**
 * What `npm run demo` and `npm test` need of a machine: Debian packages, npm packages, a build. Uses
 * nothing but Node, since nothing else may be there yet.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** Programs that the practice network and the tunnels run, and the Debian packages that hold them. */
export const demoPrograms = {
  ip: 'iproute2',
  nft: 'nftables',
  mount: 'mount',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  perl: 'perl-base',
  sysctl: 'procps',
  ssh: 'openssh-client',
  sshd: 'openssh-server',
  sudo: 'sudo',
  nginx: 'nginx-light',
  wrk: 'wrk',
  openvpn: 'openvpn',
  wg: 'wireguard-tools',
  'wireguard-go': 'wireguard-go',
}

/** What the tests use beside that. */
export const testPrograms = {
  ...demoPrograms,
  // The page of `fleetmove report` is looked at in a browser.
  chromium: 'chromium',
  conntrack: 'conntrack',
  curl: 'curl',
  dig: 'bind9-dnsutils',
  haproxy: 'haproxy',
  iptables: 'iptables',
  mmdebstrap: 'mmdebstrap',
  named: 'bind9',
  nsupdate: 'bind9-dnsutils',
  // Debian has the server's own programs in no PATH.
  '../lib/postgresql/15/bin/postgres': 'postgresql-15',
  openssl: 'openssl',
  ping: 'iputils-ping',
  postfix: 'postfix',
  'redis-server': 'redis-server',
  rsync: 'rsync',
  script: 'bsdutils',
  socat: 'socat',
  'systemd-nspawn': 'systemd-container',
  ufw: 'ufw',
  vsftpd: 'vsftpd',
}

/** What the benches compare with, beside that. */
export const benchPrograms = {
  ...testPrograms,
  ansible: 'ansible-core',
  rinetd: 'rinetd',
  '/usr/lib/nginx/modules/ngx_stream_module.so': 'libnginx-mod-stream',
}

const searched = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/** Whether a program is where root's programs are, whatever the caller's PATH; or a file by its path. */
export function isInstalled(program) {
  if (program.startsWith('/')) return existsSync(program)
  return searched.some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Ends the process with a sentence for people. */
export function giveUp(message) {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}

function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env },
  })
  if (error || status !== 0) giveUp(`${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ''}.`)
}

/** @param {Record<string, string>} programs program → Debian package */
export function installPrograms(programs, say) {
  const missing = Object.keys(programs).filter((program) => !isInstalled(program))
  if (missing.length === 0) return
  const packages = [...new Set(missing.map((program) => programs[program]))].sort()
  if (!isInstalled('apt-get')) giveUp(`Please install ${missing.join(', ')} (on Debian: ${packages.join(', ')}).`)
  say(`Installing Debian packages: ${packages.join(', ')}`)
  const quiet = { DEBIAN_FRONTEND: 'noninteractive' }
  // Their daemons are for the practice network's hosts and must not start on this machine (invoke-rc.d(8)).
  const policy = '/usr/sbin/policy-rc.d'
  const kept = `${policy}.kept-by-fleetmove`
  const forbidden = '#!/bin/sh\n# For the time of an installation by fleetmove.\nexit 101\n'
  // A run that was killed may have left ours.
  const isForeign = existsSync(policy) && readFileSync(policy, 'utf8') !== forbidden
  if (isForeign) renameSync(policy, kept)
  writeFileSync(policy, forbidden, { mode: 0o755 })
  const restore = () => (existsSync(kept) ? renameSync(kept, policy) : rmSync(policy, { force: true }))
  process.once('exit', restore)
  run('apt-get', ['-qq', 'update'], quiet)
  run('apt-get', ['-qq', '-y', '--no-install-recommends', 'install', ...packages], quiet)
  process.removeListener('exit', restore)
  restore()
}

/** npm ci, unless what package-lock.json asks for is there. */
export function installPackages(say) {
  const installed = join(root, 'node_modules', '.package-lock.json')
  const lock = join(root, 'package-lock.json')
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return
  say('Installing npm packages')
  run('npm', ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'])
}

export function build(say) {
  say('Building fleetmove')
  run(process.execPath, [join(root, '.build', 'build.mjs')])
}

/** Refuses, with a reason, a machine on which nothing of this can work. */
export function checkMachine() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19)) giveUp(`Node ${process.versions.node} is too old: 20.19 is needed.`)
  if (process.platform !== 'linux') giveUp('This needs Linux: the practice network is made of its namespaces.')
  if (process.getuid?.() !== 0) giveUp('This makes network namespaces and needs root: run it with sudo.')
}
