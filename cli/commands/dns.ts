import { dns } from '../../controller/dns.js'
import { switchDns } from '../../controller/dns-switch.js'
import { FleetmoveError } from '../../proto/model/error.js'
import type { GlobalOptions } from '../global-options.js'
import { dnsText } from '../render/dns.js'
import { print } from '../render/print.js'
import { withFleet } from '../session.js'

export async function runDns(names: string[], options: GlobalOptions): Promise<void> {
  const report = await withFleet(options, (context) => dns(context, names))
  print(options.json ? `${JSON.stringify(report)}\n` : dnsText(report))
}

export interface DnsSwitchCommandOptions {
  back: boolean
  now: boolean
  wait: boolean
  /** In ms. */
  ttl: number | undefined
}

export async function runDnsSwitch(
  services: string[],
  { back, now, wait, ttl, ...options }: GlobalOptions & DnsSwitchCommandOptions,
): Promise<void> {
  if (now && wait) {
    throw new FleetmoveError('usage', {
      message: "dns switch: --now doesn't wait for the longer time to live, and --wait does",
      hint: 'give one of the two',
    })
  }
  const changed = await withFleet(options, (context) =>
    switchDns(context, {
      services,
      to: back ? 'old' : 'new',
      ttlSeconds: ttl === undefined ? undefined : Math.max(1, Math.round(ttl / 1000)),
      now,
      wait,
    }),
  )
  if (options.json) return print(`${JSON.stringify({ type: 'result', changed })}\n`)
  if (changed.length === 0) return print('Nothing was left to change.\n')
  for (const { name, type, after, ttlSeconds } of changed)
    print(`${name} ${type} ${after.join(', ')}, time to live ${ttlSeconds} s\n`)
}
