/** Whether packets of a tunnel's full size get through it, now: a path may have become narrower since it was measured. */
import { execFile } from 'node:child_process'
import type { TunnelSpec } from '../proto/model/host-spec.js'

/** IPv4 and ICMP headers: ping(8) counts what is behind them. */
const headers = 28
const smallest = 576
const tries = 3

/**
 * Asked with echoes, there and back.
 * @returns the largest packet in bytes that gets through; 0 where the full size does, or nothing can be told
 */
export async function largestThrough(tunnel: TunnelSpec): Promise<number> {
  if (await echoes(tunnel, tunnel.mtu)) return 0
  // Where small ones aren't answered either, sizes aren't the matter, or a firewall swallows echoes.
  if (!(await echoes(tunnel, smallest)) || (await echoes(tunnel, tunnel.mtu))) return 0
  let [passes, fails] = [smallest, tunnel.mtu]
  while (passes + 1 < fails) {
    const size = (passes + fails) >> 1
    if (await echoes(tunnel, size)) passes = size
    else fails = size
  }
  return passes
}

/** One answer of a few is enough: loss is not the question. */
function echoes(tunnel: TunnelSpec, size: number): Promise<boolean> {
  const argv = ['-n', '-c', String(tries), '-i', '0.2', '-W', '1', '-s', String(size - headers)]
  return new Promise((resolve) => {
    execFile('ping', [...argv, '-I', tunnel.local4, tunnel.peer4], { timeout: 5000 }, (_error, stdout) =>
      resolve(/ time=/.test(String(stdout))),
    )
  })
}
