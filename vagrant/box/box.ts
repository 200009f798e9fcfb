/**
 * A Vagrant box for libvirt from Debian's packages alone, for places without box downloads: the hosts' file
 * system with a kernel, on a disk without partitions, started by extlinux.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { collect, hostEnvironment } from '../../cli/lab/exec.js'
import { cacheDirectory, contentKey, disabled, makeTree, packageList } from './root-tree.js'

/** Those that a virtual machine needs beside what every host has; Vagrant's logins are by its insecure key. */
const packages = ['linux-image-cloud-amd64', 'initramfs-tools', 'busybox', 'zstd']

/** Vagrant replaces it at the first login; see hashicorp/vagrant's keys/README.md. */
const insecureKey =
  'ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key'

/** The initial file system holds only what finds this disk: a large one costs an emulated processor seconds. */
const beforePackages = `set -eu
mkdir -p "$1/etc/initramfs-tools/conf.d"
printf 'MODULES=list\\nCOMPRESS=gzip\\n' >"$1/etc/initramfs-tools/conf.d/practice"
printf 'virtio_ring\\nvirtio_pci\\nvirtio_blk\\nvirtio_net\\next4\\n' >"$1/etc/initramfs-tools/modules"
`

/**
 * systemd-networkd serves eth0, Vagrant's own way in, by DHCP. Device names are the kernel's (net.ifnames=0), so that
 * the practice network is eth1 everywhere.
 */
const customize = `set -eu
systemctl -q --root="$1" disable ${disabled.join(' ')} 2>/dev/null || true
systemctl -q --root="$1" enable systemd-networkd.service ssh.service
rm -f "$1"/etc/ssh/ssh_host_* "$1"/var/lib/dbus/machine-id
: >"$1"/etc/machine-id
printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=ipv4\\nLinkLocalAddressing=no\\n' >"$1/etc/systemd/network/05-eth0.network"
cat >"$1/etc/systemd/system/ssh-host-keys.service" <<'END'
[Unit]
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
[Install]
WantedBy=multi-user.target
END
systemctl -q --root="$1" enable ssh-host-keys.service
printf 'UseDNS no\\nUsePAM no\\n' >"$1/etc/ssh/sshd_config.d/vagrant.conf"
chroot "$1" useradd -m -s /bin/bash vagrant
sed -i 's/^vagrant:!/vagrant:*/' "$1/etc/shadow"
install -d -m 700 -o 1000 -g 1000 "$1/home/vagrant/.ssh"
printf '%s\\n' '${insecureKey}' >"$1/home/vagrant/.ssh/authorized_keys"
chown 1000:1000 "$1/home/vagrant/.ssh/authorized_keys"
printf 'vagrant ALL=(ALL) NOPASSWD: ALL\\n' >"$1/etc/sudoers.d/vagrant"
printf '/dev/vda / ext4 defaults,noatime 0 1\\n' >"$1/etc/fstab"
rm -rf "$1"/usr/share/doc "$1"/usr/share/man "$1"/usr/share/locale "$1"/var/lib/apt/lists
cp "$1"/boot/vmlinuz-* "$1/boot/vmlinuz"
cp "$1"/boot/initrd.img-* "$1/boot/initrd"
cat >"$1/boot/extlinux.conf" <<'END'
DEFAULT linux
LABEL linux
  LINUX /boot/vmlinuz
  INITRD /boot/initrd
  APPEND root=/dev/vda rw quiet console=ttyS0 net.ifnames=0 apparmor=0 mitigations=off
END
`

/** Makes the disk from the tree; extlinux writes its loader into the mounted file system. Arguments: tree, directory. */
const makeDisk = `set -eu
tree=$1 out=$2
truncate -s 8G "$out/disk.raw"
mke2fs -q -t ext4 -F -d "$tree" -O ^metadata_csum,^64bit "$out/disk.raw"
mkdir "$out/mounted"
mount -o loop "$out/disk.raw" "$out/mounted"
extlinux --install "$out/mounted/boot" >/dev/null 2>&1
umount "$out/mounted"
rmdir "$out/mounted"
qemu-img convert -O qcow2 "$out/disk.raw" "$out/box.img"
rm "$out/disk.raw"
printf '{"provider":"libvirt","format":"qcow2","virtual_size":8}' >"$out/metadata.json"
printf 'Vagrant.configure("2") { |config| }\\n' >"$out/Vagrantfile"
tar -C "$out" -czf "$out/debian.box" metadata.json Vagrantfile box.img
`

/** @returns the box's file, made where there is none for this content */
export async function debianBox(directory: string, say: (line: string) => void): Promise<string> {
  const all = [...packageList(directory), ...packages].join(',')
  const key = contentKey(all, beforePackages, customize, makeDisk)
  const place = join(cacheDirectory, `box-bookworm-${key}`)
  const box = join(place, 'debian.box')
  if (existsSync(box)) return box
  say(`making a Vagrant box once, in ${place}`)
  const fresh = `${place}.${process.pid}`
  await mkdir(fresh, { recursive: true })
  const tree = `${fresh}.tree`
  try {
    await makeTree(tree, 'bookworm', all, [`--essential-hook=${beforePackages}`, `--customize-hook=${customize}`])
    await writeFile(join(fresh, 'make-disk.sh'), makeDisk)
    // In a mount namespace of its own: a run that dies leaves no mount behind.
    const made = await collect(
      spawn('nice', ['unshare', '--mount', 'sh', join(fresh, 'make-disk.sh'), tree, fresh], { env: hostEnvironment() }),
      { what: 'make-disk.sh' },
    )
    if (made.code !== 0) throw new Error(`the box's disk can't be made: ${made.stderr.trim()}`)
    await rename(fresh, place)
  } finally {
    await rm(fresh, { recursive: true, force: true })
    await rm(tree, { recursive: true, force: true })
  }
  return box
}
