/**
 * Which cgroups and addresses a service's own processes have now. Both are the kernel's for one run only: a unit
 * that restarts gets a new cgroup, a container that restarts may get another address.
 */
import { readFile } from 'node:fs/promises'
import type { Egress } from '../../proto/model/host-spec.js'
import { parseIp } from '../../proto/parse.js'
import { containerTool, partsOf, runCommand } from '../lifecycle.js'

export interface Members {
  /** Below the mount of cgroup2, without a slash at either end; need not be there yet. */
  cgroups: string[]
  /** Numbers of users. */
  uids: string[]
  sources4: string[]
  sources6: string[]
}

export const nobody: Members = { cgroups: [], uids: [], sources4: [], sources6: [] }

const askOptions = { timeoutMs: 10_000, environment: {} }
const ask = (argv: readonly string[], label: string) => runCommand(argv, label, askOptions)

/** A unit or a container that isn't there, or doesn't run, has no members, or those that it will have. */
export async function membersOf({ unit, container }: Egress): Promise<Members> {
  if (unit !== undefined) return { ...nobody, cgroups: await unitCgroups(unit) }
  if (container !== undefined) return containerMembers(container)
  return nobody
}

/** Also of the units that are part of it. */
async function unitCgroups(unit: string): Promise<string[]> {
  const units = [unit, ...(await partsOf(unit, askOptions))]
  const { ok, output } = await ask(
    ['systemctl', 'show', '--property=ControlGroup,Slice,Id', '--', ...units],
    'egress-unit',
  )
  // An empty line between two units.
  return ok ? output.split('\n\n').flatMap(cgroupOfUnit) : []
}

/** Pure: from what `systemctl show` prints, also for a unit that doesn't run now. */
export function cgroupOfUnit(properties: string): string[] {
  const of = (name: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(properties)?.[1] ?? ''
  const running = of('ControlGroup').replace(/^\//, '')
  if (running !== '') return [running]
  return of('Slice') === '' || of('Id') === '' ? [] : [[...slicePath(of('Slice')), of('Id')].join('/')]
}

/** `a-b.slice` lies in `a.slice`; `-.slice` is the root (systemd.slice(5)). */
function slicePath(slice: string): string[] {
  if (slice === '-.slice') return []
  const parts = slice.replace(/\.slice$/, '').split('-')
  return parts.map((_, i) => `${parts.slice(0, i + 1).join('-')}.slice`)
}

/** Of all that is known of a container only this: with a few labels the whole is longer than what is kept of a command's output. */
const inspectFormat =
  '[{"State":{"Pid":{{.State.Pid}}},"HostConfig":{"NetworkMode":{{json .HostConfig.NetworkMode}}},' +
  '"NetworkSettings":{"Networks":{{json .NetworkSettings.Networks}}}}]'

async function containerMembers(container: string): Promise<Members> {
  const { ok, output } = await ask(
    [containerTool(), 'inspect', '--type', 'container', '--format', inspectFormat, '--', container],
    'egress-container',
  )
  if (!ok) return nobody
  const inspected = readInspected(output)
  if (!inspected.hostNetwork) return { ...nobody, ...inspected }
  if (inspected.pid === 0) return nobody
  const text = await readFile(`/proc/${inspected.pid}/cgroup`, 'utf8').catch(() => '')
  const path = /^0::\/(.+)$/m.exec(text)?.[1]
  return { ...nobody, cgroups: path === undefined ? [] : [path] }
}

/** Pure: from what `docker inspect` and `podman inspect` print by `inspectFormat`. Addresses are told while it runs only. */
export function readInspected(
  text: string,
): Pick<Members, 'sources4' | 'sources6'> & { hostNetwork: boolean; pid: number } {
  const [found] = JSON.parse(text) as {
    State?: { Pid?: number }
    HostConfig?: { NetworkMode?: string }
    NetworkSettings?: { Networks?: Record<string, { IPAddress?: string; GlobalIPv6Address?: string }> | null }
  }[]
  const networks = Object.values(found?.NetworkSettings?.Networks ?? {})
  const sound = (texts: (string | undefined)[]): string[] =>
    texts.flatMap((each) => {
      const parsed = parseIp(each ?? '')
      return parsed.ok ? [parsed.value] : []
    })
  return {
    hostNetwork: found?.HostConfig?.NetworkMode === 'host',
    pid: found?.State?.Pid ?? 0,
    sources4: sound(networks.map(({ IPAddress }) => IPAddress)),
    sources6: sound(networks.map(({ GlobalIPv6Address }) => GlobalIPv6Address)),
  }
}
