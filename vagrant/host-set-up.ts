/** What a booted host is given beside its packages: the practice network's files, and systemd-networkd's. */
import { chown, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Accounts, bigFile, type HostFile, hostFiles, type LabKeys } from '../cli/lab/host-files.js'
import { labTopology } from '../cli/lab/topology.js'

const prefixLength = (cidr: string): string => cidr.slice(cidr.indexOf('/') + 1)

/**
 * systemd.network(5) of a host's device. The primary address of each family is the one that the kernel takes
 * as source: the first of IPv4's, the last of IPv6's.
 */
export function networkUnit(name: string, device: string): string {
  const host = labTopology.hosts[name]
  const net = host && labTopology.subnets[host.subnet]
  if (!net) throw new Error(`${name} isn't in vagrant/topology.json`)
  const addresses = [
    ...host.v4.map((address) => `${address}/${prefixLength(net.v4)}`),
    ...host.v6.toReversed().map((address) => `${address}/${prefixLength(net.v6)}`),
  ]
  return `[Match]
Name=${device}

[Network]
${addresses.map((address) => `Address=${address}\n`).join('')}Gateway=${net.gateway4}
Gateway=${net.gateway6}
IPv6AcceptRA=no
IPv6DuplicateAddressDetection=0
`
}

/** Strict reverse paths are what RHEL ships, and the hardest case for a tunnel. */
const sysctls = `net.ipv4.conf.all.rp_filter=1
net.ipv4.conf.default.rp_filter=1
net.ipv6.conf.all.accept_dad=0
net.ipv6.conf.default.accept_dad=0
net.ipv4.conf.all.forwarding=0
net.ipv6.conf.all.forwarding=0
`

/** Every file of a host, its account files included. */
export function bootedHostFiles(name: string, device: string, keys: LabKeys, accounts: Accounts): HostFile[] {
  return [
    ...hostFiles(labTopology, name, keys, accounts),
    { path: `/etc/systemd/network/10-${device}.network`, text: networkUnit(name, device) },
    { path: '/etc/sysctl.d/99-practice.conf', text: sysctls },
    // A host without keys is one that nobody logs in to.
    {
      path: '/etc/systemd/system/ssh.service.d/practice.conf',
      text: '[Unit]\nConditionPathExists=/etc/ssh/ssh_host_ed25519_key\n',
    },
    // The journal is asked after reboots.
    { path: '/var/log/journal/.keep', text: '' },
  ]
}

/** Writes files below a directory, with owners and modes. */
export async function writeBelow(root: string, files: readonly HostFile[]): Promise<void> {
  for (const { path, text, mode = 0o644, uid = 0 } of files) {
    const file = join(root, path)
    const first = await mkdir(dirname(file), { recursive: true, mode: dirname(path).endsWith('.ssh') ? 0o700 : 0o755 })
    for (
      let made = dirname(file);
      uid !== 0 && first !== undefined && made.length >= first.length;
      made = dirname(made)
    )
      if (made !== join(root, 'home')) await chown(made, uid, uid)
    await writeFile(file, text, { mode })
    if (uid !== 0) await chown(file, uid, uid)
  }
}

/** Shell that makes what nginx sends as a long download: lines that tell their own place. */
export const bigFileScript = `mkdir -p ${dirname(bigFile.path)}
perl -e 'printf "%015d\\n", $_ for 1 .. ${bigFile.bytes / 16}' >${bigFile.path}
`
