/**
 * A Vagrant box for libvirt from Debian's packages alone, for places without box downloads: the hosts' file
 * system with a kernel, on a disk without partitions, started by extlinux.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { collect, hostEnvironment } from '../../cli/lab/exec.js'
import { cacheDirectory, contentKey } from './root-tree.js'

/** Vagrant replaces it at the first login; see hashicorp/vagrant's keys/README.md. */
const insecureKey =
  'ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key'

/** Each costs an emulated processor a second of every boot, and nobody here needs it. */
const masked = [
  ...['configfs', 'dm_mod', 'drm', 'efi_pstore', 'fuse', 'loop'].map((module) => `modprobe@${module}.service`),
  ...['dev-hugepages.mount', 'dev-mqueue.mount', 'sys-kernel-debug.mount', 'sys-kernel-tracing.mount'],
  ...['systemd-binfmt.service', 'systemd-network-generator.service', 'systemd-pstore.service', 'getty.target'],
]

/**
 * systemd-networkd serves eth0, Vagrant's own way in, by DHCP. Device names are the kernel's (net.ifnames=0), so that
 * the practice network is eth1 everywhere. Argument: the tree.
 */
const customize = `set -eu
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
systemctl -q --root="$1" mask ${masked.join(' ')}
printf 'UseDNS no\\nUsePAM no\\n' >"$1/etc/ssh/sshd_config.d/vagrant.conf"
chroot "$1" useradd -m -s /bin/bash vagrant
sed -i 's/^vagrant:!/vagrant:*/' "$1/etc/shadow"
install -d -m 700 -o 1000 -g 1000 "$1/home/vagrant/.ssh"
printf '%s\\n' '${insecureKey}' >"$1/home/vagrant/.ssh/authorized_keys"
chown 1000:1000 "$1/home/vagrant/.ssh/authorized_keys"
printf 'vagrant ALL=(ALL) NOPASSWD: ALL\\n' >"$1/etc/sudoers.d/vagrant"
printf '/dev/vda / ext4 defaults,noatime 0 1\\n' >"$1/etc/fstab"
cp "$1"/boot/vmlinuz-* "$1/boot/vmlinuz"
cp "$1"/boot/initrd.img-* "$1/boot/initrd"
cat >"$1/boot/extlinux.conf" <<'END'
DEFAULT linux
LABEL linux
  LINUX /boot/vmlinuz
  INITRD /boot/initrd
  APPEND root=/dev/vda rw quiet console=ttyS0 net.ifnames=0 apparmor=0 audit=0 mitigations=off nokaslr no_timer_check nowatchdog random.trust_cpu=on fsck.mode=skip modprobe.blacklist=kvm_amd,powernow_k8
END
`

/** Makes the disk from the tree, which stays as it is; extlinux writes its loader into the mounted file system. Arguments: tree, directory. */
const makeDisk = `set -eu
out=$2
mkdir "$out/layer" "$out/layer/upper" "$out/layer/work" "$out/tree"
mount -t overlay -o "lowerdir=$1,upperdir=$out/layer/upper,workdir=$out/layer/work" box "$out/tree"
sh "$out/customize.sh" "$out/tree"
truncate -s 8G "$out/disk.raw"
mke2fs -q -t ext4 -F -d "$out/tree" -O ^metadata_csum,^64bit "$out/disk.raw"
mkdir "$out/mounted"
mount -o loop "$out/disk.raw" "$out/mounted"
extlinux --install "$out/mounted/boot" >/dev/null 2>&1
umount "$out/mounted" "$out/tree"
qemu-img convert -O qcow2 "$out/disk.raw" "$out/box.img"
rm -r "$out/disk.raw" "$out/mounted" "$out/tree" "$out/layer"
printf '{"provider":"libvirt","format":"qcow2","virtual_size":8}' >"$out/metadata.json"
printf 'Vagrant.configure("2") { |config| }\\n' >"$out/Vagrantfile"
tar -C "$out" -cf "$out/debian.box" metadata.json Vagrantfile box.img
rm "$out/box.img"
`

/**
 * @param tree of rootTree, with a kernel
 * @returns the box's file, made where there is none for this content, and a name for that
 */
export async function debianBox(tree: string, say: (line: string) => void): Promise<{ file: string; name: string }> {
  const key = contentKey(tree, customize, makeDisk)
  const place = join(cacheDirectory, `box-${key}`)
  const box = { file: join(place, 'debian.box'), name: `fleetmove/debian-${key}` }
  if (existsSync(box.file)) return box
  say(`making a Vagrant box once, in ${place}`)
  const fresh = `${place}.${process.pid}`
  await mkdir(fresh, { recursive: true })
  try {
    await writeFile(join(fresh, 'customize.sh'), customize)
    await writeFile(join(fresh, 'make-disk.sh'), makeDisk)
    // In a mount namespace of its own: a run that dies leaves no mount behind.
    const made = await collect(
      spawn('unshare', ['--mount', 'sh', join(fresh, 'make-disk.sh'), tree, fresh], { env: hostEnvironment() }),
      { what: 'make-disk.sh' },
    )
    if (made.code !== 0) throw new Error(`the box's disk can't be made: ${made.stderr.trim()}`)
    await rename(fresh, place)
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
  return box
}
