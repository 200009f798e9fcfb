/**
 * Tells systemd's watchdog that this process still does its work (sd_watchdog_enabled(3)). Node has no datagram
 * sockets of the local kind, so systemd's own program says it.
 */
import { execFile } from 'node:child_process'
import { toolPath } from './kernel/tool.js'

/** @returns what ends it; nothing is done where no watchdog watches this process */
export function feedWatchdog(): () => void {
  const watchedMs = Number(process.env.WATCHDOG_USEC ?? 0) / 1000
  const mine = (process.env.WATCHDOG_PID ?? String(process.pid)) === String(process.pid)
  if (!(watchedMs > 0) || !mine) return () => {}
  const tell = (): void => {
    // Where it fails the watchdog restarts us, which is what it is for.
    execFile(
      'systemd-notify',
      ['WATCHDOG=1'],
      { env: { PATH: toolPath, NOTIFY_SOCKET: process.env.NOTIFY_SOCKET } },
      () => {},
    )
  }
  tell()
  // A third: one word may be lost.
  const timer = setInterval(tell, watchedMs / 3)
  return () => clearInterval(timer)
}
