import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'
import { FleetmoveError } from '../../proto/model/error.js'
import { collect, hostEnvironment } from './exec.js'

/** The programs that the lab runs, and the Debian packages that hold them. */
const tools: Record<string, string> = {
  ip: 'iproute2',
  nft: 'nftables',
  mount: 'mount',
  umount: 'mount',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  pivot_root: 'util-linux',
  perl: 'perl-base',
  sysctl: 'procps',
  pgrep: 'procps',
  ps: 'procps',
  ssh: 'openssh-client',
  'ssh-keygen': 'openssh-client',
  sshd: 'openssh-server',
  sudo: 'sudo',
  nginx: 'nginx-light',
}

/**
 * Checks that this machine can carry a lab, before anything is started: root, programs, namespaces and
 * overlayfs. Throws a preflight error that names all that is missing.
 */
export async function labPreflight(): Promise<void> {
  if (process.platform !== 'linux')
    throw new FleetmoveError('preflight', {
      message: 'the practice network needs Linux namespaces',
      hint: 'Run it on Linux, for example in a virtual machine',
    })
  if (process.getuid?.() !== 0)
    throw new FleetmoveError('preflight', {
      message: 'the practice network makes namespaces and mounts, which needs root',
      hint: 'Run the same command as root, for example with sudo',
    })
  const missing = Object.keys(tools).filter((tool) => !isInstalled(tool))
  if (missing.length > 0) {
    const packages = [...new Set(missing.map((tool) => tools[tool]))].sort()
    throw new FleetmoveError('preflight', {
      message: `the practice network needs ${missing.join(', ')}, not found in this machine's PATH`,
      hint: `apt-get install -y --no-install-recommends ${packages.join(' ')}`,
    })
  }
  await probeKernel()
}

function isInstalled(tool: string): boolean {
  return hostEnvironment()
    .PATH?.split(':')
    .some((dir) => {
      try {
        accessSync(join(dir, tool), constants.X_OK)
        return true
      } catch {
        return false
      }
    }) as boolean
}

/** What each exit code of the probe means. Namespaces fail with unshare's own code, 1. */
const refusals: Record<number, [message: string, hint: string]> = {
  1: [
    "this machine's kernel, or the container around it, refuses new namespaces",
    'Run on a machine of its own, or in a container that has --privileged',
  ],
  71: ["a tmpfs can't be mounted here", 'Run on a machine of its own, or in a container that has --privileged'],
  72: ["an overlay can't be mounted over / here", 'Load the module: modprobe overlay'],
  73: ["/proc or /sys can't be mounted here", 'Run in a container that has --privileged'],
  74: ["nft can't make a translating rule here", 'Load the modules: modprobe -a nf_tables nft_nat nft_ct'],
}

/** Tries, in namespaces that end at once, the kernel features that the lab is made of. */
async function probeKernel(): Promise<void> {
  const script = `mount -t tmpfs probe /mnt || exit 71
mkdir /mnt/u /mnt/w /mnt/m
mount -t overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w probe /mnt/m || exit 72
mount -t proc proc /mnt/m/proc && mount -t sysfs sysfs /mnt/m/sys || exit 73
echo 'table inet t { chain a { type nat hook prerouting priority dstnat; dnat ip to 127.0.0.1; }
chain b { type filter hook prerouting priority raw; notrack; }; }' | nft -f - || exit 74`
  const probe = await collect(
    spawn('unshare', ['--mount', '--pid', '--net', '--uts', '--ipc', '--fork', 'sh', '-c', script], {
      env: hostEnvironment(),
    }),
    { timeoutMs: 20_000, what: 'unshare' },
  )
  if (probe.code === 0) return
  const [message, hint] = refusals[probe.code] ?? ["this machine can't carry the practice network", '']
  throw new FleetmoveError('preflight', {
    message: `${message}: ${probe.stderr.trim() || `exit code ${probe.code}`}`,
    ...(hint ? { hint } : {}),
  })
}
