import { exampleFleet } from './example-fleet.js'
import { hostNames, type LabTopology, publicAddresses } from './topology.js'

/** A file that the lab puts into a host. `uid` owns it and, by the same number, its group. */
export interface HostFile {
  path: string
  text: string
  /** Permission bits; 0o644 if left away. */
  mode?: number
  uid?: number
}

export interface LabKeys {
  /** The private key of the operator, OpenSSH format, and its public line `ssh-ed25519 AAAA…`. */
  userPrivate: string
  userPublic: string
  /** Each sshd host's private and public host key. */
  hosts: ReadonlyMap<string, { private: string; public: string }>
}

/** User and group numbers of the lab's two unprivileged users: beyond those that adduser gives. */
export const labUsers = { deploy: 60_101, ops: 60_102 } as const

/** The files of one host; `opsHash` is the crypt(3) hash of the password of `ops`. */
export function hostFiles(topology: LabTopology, name: string, keys: LabKeys, accounts: Accounts): HostFile[] {
  const host = topology.hosts[name]
  const files: HostFile[] = [
    { path: '/etc/hostname', text: `${name}\n` },
    { path: '/etc/hosts', text: hostsFile(topology) },
    // Without a name server, glibc asks 127.0.0.1 and is refused at once instead of waiting.
    { path: '/etc/resolv.conf', text: '# The practice network has no name server.\n' },
  ]
  if (host?.sshd) files.push(...sshdFiles(name, keys, accounts))
  if (host && host.web !== 'none') files.push({ path: '/etc/nginx/nginx.conf', text: nginxConfig })
  if (host?.role === 'controller') files.push(...controllerFiles(topology, keys))
  return files
}

/** The machine's account files, and what the lab's users need in them. */
export interface Accounts {
  passwd: string
  shadow: string
  group: string
  opsHash: string
}

function sshdFiles(name: string, keys: LabKeys, accounts: Accounts): HostFile[] {
  const key = keys.hosts.get(name)
  if (!key) throw new Error(`no host key was made for ${name}`)
  const authorized = (home: string, uid: number): HostFile => ({
    path: `${home}/.ssh/authorized_keys`,
    text: `${keys.userPublic}\n`,
    mode: 0o600,
    uid,
  })
  return [
    { path: '/etc/ssh/sshd_config', text: sshdConfig },
    { path: '/etc/ssh/ssh_host_ed25519_key', text: key.private, mode: 0o600 },
    { path: '/etc/ssh/ssh_host_ed25519_key.pub', text: `${key.public}\n` },
    { path: '/etc/sudoers', text: sudoers, mode: 0o440 },
    ...accountFiles(accounts),
    authorized('/root', 0),
    authorized('/home/deploy', labUsers.deploy),
    authorized('/home/ops', labUsers.ops),
  ]
}

function accountFiles({ passwd, shadow, group, opsHash }: Accounts): HostFile[] {
  const names = Object.keys(labUsers)
  const without = (text: string) =>
    text
      .split('\n')
      .filter((line) => line !== '' && !names.includes(line.slice(0, line.indexOf(':'))))
      .map((line) => `${line}\n`)
      .join('')
  const users = Object.entries(labUsers)
  // sshd without PAM refuses a password of "!" as a locked account; "*" only matches no password.
  const hash = (name: string) => (name === 'ops' ? opsHash : '*')
  return [
    {
      path: '/etc/passwd',
      text: without(passwd) + users.map(([name, id]) => `${name}:x:${id}:${id}::/home/${name}:/bin/bash\n`).join(''),
    },
    {
      path: '/etc/shadow',
      text: without(shadow) + users.map(([name]) => `${name}:${hash(name)}:20000:0:99999:7:::\n`).join(''),
      mode: 0o600,
    },
    { path: '/etc/group', text: without(group) + users.map(([name, id]) => `${name}:x:${id}:\n`).join('') },
  ]
}

/** Debian 12's sshd_config, but for PAM, whose session modules fail in some containers. */
const sshdConfig = `HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server
`

/** Debian 12's sudoers, and the lab's users. */
const sudoers = `Defaults env_reset
Defaults mail_badpass
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
Defaults use_pty
root ALL=(ALL:ALL) ALL
deploy ALL=(ALL:ALL) NOPASSWD: ALL
ops ALL=(ALL:ALL) ALL
`

/** The file that /big and /slow send, and its size in bytes. The lab writes it. */
export const bigFile = { path: '/var/www/lab/big', bytes: 8 * 1024 * 1024 }

const nginxConfig = `user www-data;
worker_processes 2;
worker_rlimit_nofile 16384;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log warn;
events { worker_connections 8192; }
http {
  access_log off;
  default_type text/plain;
  keepalive_timeout 65s;
  keepalive_requests 1000000;
  map $arg_rate $rate { default 256k; "~^[0-9]+[km]?$" $arg_rate; }
  server {
    listen 0.0.0.0:80;
    listen [::]:80;
    # Which host answers, and the client that it sees.
    location / { return 200 "$hostname $remote_addr $remote_port\\n"; }
    location = /healthz { return 200 "ok\\n"; }
    location = /big { alias ${bigFile.path}; }
    # A long download: bytes a second by ?rate=, 256k if it isn't given.
    location = /slow { alias ${bigFile.path}; limit_rate $rate; }
  }
}
`

function hostsFile(topology: LabTopology): string {
  const lines = ['127.0.0.1 localhost', '::1 localhost ip6-localhost ip6-loopback']
  for (const name of hostNames(topology))
    for (const address of publicAddresses(topology, name)) lines.push(`${address} ${name}`)
  return `${lines.join('\n')}\n`
}

function controllerFiles(topology: LabTopology, keys: LabKeys): HostFile[] {
  const known = [...keys.hosts].map(
    ([name, key]) => `${[name, ...publicAddresses(topology, name)].join(',')} ${key.public}\n`,
  )
  const aliases = [...keys.hosts.keys()].map(
    (name) => `Host ${name}\n  HostName ${publicAddresses(topology, name)[0]}\n  User root\n`,
  )
  const config = `${aliases.join('')}Host *
  IdentityFile /root/.ssh/id_ed25519
  IdentitiesOnly yes
  UserKnownHostsFile /root/.ssh/known_hosts
  StrictHostKeyChecking yes
`
  return [
    { path: '/root/.ssh/config', text: config, mode: 0o600 },
    { path: '/root/.ssh/id_ed25519', text: keys.userPrivate, mode: 0o600 },
    { path: '/root/.ssh/id_ed25519.pub', text: `${keys.userPublic}\n` },
    { path: '/root/.ssh/known_hosts', text: known.join(''), mode: 0o600 },
    { path: '/root/fleet.yaml', text: exampleFleet(topology) },
  ]
}
