/**
 * Sends announcements of addresses. Node has no packet sockets (packet(7)), and arping isn't everywhere: an
 * interpreter that the host has lends one. The kernel's own means (arp_notify, ndisc_notify) speak when a
 * device comes up or changes its hardware address, not when an address is added.
 */
import type { Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import { announcement } from './announcement.js'
import { requireLink } from './links.js'
import type { Netlink } from './netlink.js'
import type { Performers } from './step.js'
import { runTool, ToolMissing } from './tool.js'

/** AF_PACKET, SOCK_RAW; struct sockaddr_ll. Arguments: name and index of the device, frames in hex. */
const perl = `
my (undef, $index, @frames) = @ARGV;
socket(my $socket, 17, 3, 0) or die "$!\\n";
for (@frames) {
  my $frame = pack "H*", $_;
  my $to = pack "S a2 l S C C x8", 17, substr($frame, 12, 2), $index, 0, 0, 6;
  defined send $socket, $frame, 0, $to or die "$!\\n";
}`
const python = `
import socket, sys
sender = socket.socket(17, 3)
for frame in sys.argv[3:]:
    sender.sendto(bytes.fromhex(frame), (sys.argv[1], 0))`

/** The last one is where RHEL keeps the interpreter that dnf needs. */
const means = [
  { tool: 'perl', words: ['-e', perl, '--'] },
  { tool: 'python3', words: ['-c', python] },
  { tool: '/usr/libexec/platform-python', words: ['-c', python] },
] as const

/**
 * Again after so many ms: a frame may be lost, and the other host answers for the address until it has been
 * told, too. RFC 5227, 2.3, has two of them, 2 s apart.
 */
const againMs = [200, 1000, 3000] as const

export interface Announcer {
  performers: Pick<Performers, 'announce-address'>
  /** Nothing more is said of an address that goes. */
  forget: (address: { device: string; ip: Ip }) => void
  close(): void
}

export function announcePerformer(netlink: Netlink): Announcer {
  const timers = new Map<string, NodeJS.Timeout[]>()
  const forget = ({ device, ip }: { device: string; ip: Ip }): void => {
    for (const timer of timers.get(`${device} ${ip}`) ?? []) clearTimeout(timer)
    timers.delete(`${device} ${ip}`)
  }
  return {
    forget,
    close: () => {
      for (const timer of [...timers.values()].flat()) clearTimeout(timer)
      timers.clear()
    },
    performers: {
      'announce-address': async ({ device, ip }) => {
        forget({ device, ip })
        const { index, hardware } = await requireLink(netlink, device)
        // Without Ethernet addresses there are no neighbours to be told.
        if (hardware.length !== 6) return
        const frames = announcement(ip, hardware).map((frame) => frame.toString('hex'))
        const words = [device, String(index), ...frames]
        const send = await firstMeans(words)
        timers.set(
          `${device} ${ip}`,
          // The first one has arrived; what stands in the way of these will be seen by the probes.
          againMs.map((ms) => setTimeout(() => void send().catch(() => {}), ms).unref()),
        )
      },
    },
  }
}

/** Sends once. @returns what sends the same again */
async function firstMeans(words: readonly string[]): Promise<() => Promise<unknown>> {
  for (const { tool, words: program } of means) {
    const send = (): Promise<string> => runTool(tool, [...program, ...words])
    try {
      await send()
      return send
    } catch (error) {
      if (!(error instanceof ToolMissing)) throw error
    }
  }
  throw new FleetmoveError('kernel', {
    message: 'neither perl nor python3 is installed, and nothing else can send it',
    hint: 'install one of the two (Debian: perl-base)',
  })
}
