/**
 * libvirt for machines without it: its daemons started by hand in private mount, network and process namespaces, so that the
 * machine's own bridges, rules and files stay as they are. All that Vagrant does is done in there.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { collect, execInside, hostEnvironment, spawnInside } from '../../cli/lab/exec.js'

/** Where Vagrant runs: this machine itself, or the namespaces that were made for it. */
export interface Place {
  spawn(argv: readonly string[], env: Record<string, string>): ChildProcess
  /** For Vagrant and the emulator. */
  readonly environment: Record<string, string>
  /** See Substrate. */
  readonly patience: number
  /** The first process of the namespaces; undefined on this machine itself. */
  readonly pid?: number
  close(): Promise<void>
}

/** The machine has its own libvirt, or VirtualBox: nothing is to be done. */
export const machineItself: Place = {
  environment: {},
  patience: 2,
  spawn: (argv, env) => spawn(argv[0]!, argv.slice(1), { env: { ...process.env, ...env }, stdio: 'pipe' }),
  close: async () => {},
}

/** /dev/kvm may be there and useless, on a nested kernel without hardware virtualisation. */
export const hasKvm = (): boolean =>
  existsSync('/dev/kvm') && ['kvm_intel', 'kvm_amd'].some((name) => existsSync(`/sys/module/${name}`))

/**
 * Without user="root" every definition is preceded by a minute of probing; the emulator's logs go to files since
 * there is no journal. Arguments: the directory for everything that is written.
 */
const initScript = `set -eu
exec 2>&1
dir=$1
read -r pid rest </proc/self/stat
mount -t proc proc /proc
ip link set lo up
for place in /run/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
  mkdir -p "$place" "$dir$place"
  mount --bind "$dir$place" "$place"
done
cp -r /etc/libvirt "$dir/etc-libvirt"
mount --bind "$dir/etc-libvirt" /etc/libvirt
printf 'user = "root"\\ngroup = "root"\\nnamespaces = []\\nstdio_handler = "file"\\nsecurity_driver = "none"\\ncgroup_controllers = []\\n' >/etc/libvirt/qemu.conf
printf 'unix_sock_rw_perms = "0700"\\nauth_unix_rw = "none"\\n' >/etc/libvirt/libvirtd.conf
mkdir -p /var/lib/libvirt/images
virtlogd -d
libvirtd -d
n=0; until virsh -q list >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 100 ] || { echo "libvirtd doesn't answer"; exit 1; }; sleep 0.2; done
virsh -q pool-define-as default dir --target /var/lib/libvirt/images >/dev/null
virsh -q pool-start default >/dev/null
echo "init $pid"
read -r word
`

/** A translation cache of 64 MiB in place of 1 GiB: an emulated machine fits in 270 MB and reboots in a third of the time. */
const emulator = `#!/bin/sh
n=$#
while [ $n -gt 0 ]; do
  word=$1; shift; n=$((n-1))
  [ "$word" != tcg ] || word=tcg,tb-size=64
  set -- "$@" "$word"
done
exec /usr/bin/qemu-system-x86_64 "$@"
`

/** @param base its directory, with its disks, is made below, and named after this process: what dead ones left is removed */
export async function libvirtByHand(base: string): Promise<Place & { directory: string }> {
  await mkdir(base, { recursive: true })
  for (const name of await readdir(base)) {
    const pid = /^vagrant-(\d+)$/.exec(name)?.[1]
    if (pid && !existsSync(`/proc/${pid}`)) await rm(join(base, name), { recursive: true, force: true })
  }
  const directory = join(base, `vagrant-${process.pid}`)
  await mkdir(directory, { recursive: true, mode: 0o711 })
  const program = join(directory, 'emulator')
  await writeFile(program, emulator, { mode: 0o755 })
  const child = spawn(
    'unshare',
    [
      ...['--mount', '--net', '--pid', '--fork', '--kill-child', '--propagation', 'private'],
      ...['sh', '-c', initScript, 'fleetmove-libvirt', directory],
    ],
    { env: hostEnvironment(), stdio: 'pipe' },
  )
  child.stdin.on('error', () => {})
  let said = ''
  const pid = await new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`libvirt can't be started: ${said.trim()}`)))
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.startsWith('init ')) resolve(Number(line.slice(5)))
      else said += `${line}\n`
    })
  })
  const place = {
    directory,
    environment: {
      FLEETMOVE_LIBVIRT_DRIVER: hasKvm() ? 'kvm' : 'qemu',
      FLEETMOVE_EMULATOR: program,
      // Boxes that have been added once.
      VAGRANT_HOME: join(base, 'vagrant-home'),
    },
    patience: hasKvm() ? 2 : 10,
    pid,
    spawn: (argv: readonly string[], env: Record<string, string>) => spawnInside(pid, argv, { env }),
    close: async () => {
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL')
        await ended
      }
      await rm(directory, { recursive: true, force: true })
    },
  }
  // The emulator's own words, early, where it doesn't run at all.
  const { code, stderr } = await execInside(pid, 'libvirt', [program, '--version'])
  if (code !== 0) throw new Error(`QEMU doesn't run: ${stderr.trim()}`)
  return place
}

export const runAt = (place: Place, argv: readonly string[], env: Record<string, string>, timeoutMs: number) =>
  collect(place.spawn(argv, { ...place.environment, ...env }), { what: argv.join(' '), timeoutMs })
