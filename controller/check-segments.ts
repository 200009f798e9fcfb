/** `address: move`: whether the hosts are on one segment, and can let go of the address, as their facts tell. */
import { familyOf, type Ip } from '../proto/model/address.js'
import type { HostAddress, HostFacts } from '../proto/model/facts.js'
import { parsePrefix } from '../proto/parse.js'
import type { Fleet } from './config/fleet.js'
import { type MovingAddress, movingAddresses } from './plan/moving-addresses.js'
import type { Problem } from './plan/preflight.js'

/** @param factsOf a host's facts, where it was reached */
export const segmentProblems = (fleet: Fleet, factsOf: (host: string) => HostFacts | undefined): Problem[] =>
  movingAddresses(fleet).flatMap((moving) => {
    const [before, after] = [factsOf(moving.from), factsOf(moving.to)]
    return before && after ? problemsOf(moving, before, after) : []
  })

function problemsOf({ address, from, to, own, stays }: MovingAddress, before: HostFacts, after: HostFacts): Problem[] {
  const problems: Problem[] = []
  const add = (host: string, message: string, hint: string): void => void problems.push({ host, message, hint })
  for (const [host, facts] of [
    [from, before],
    [to, after],
  ] as const)
    if (!facts.tools.perl && !facts.tools.python3)
      add(
        host,
        `neither perl nor python3 is installed, one of which tells the segment where ${address} is`,
        'Install one of the two (Debian: perl-base).',
      )
  const there = onDevice(before, address)
  // Where an agent stands the address may have moved already.
  if (!there) {
    if (!before.installed.directory)
      add(from, `${address} is to move, and is on no device of this host`, 'Correct addresses: of the service.')
    return problems
  }
  const [uplink, other] = [uplinkOf(before, address), uplinkOf(after, address)]
  const [home, rest] = [onDevice(after, own), onDevice(before, stays)]
  const instead = 'Leave address: move away: clients are forwarded through the tunnel then.'
  if (there.device !== uplink || home?.device !== other)
    add(
      from,
      `${address} (${there.device}) and ${own} of ${to} (${home?.device ?? 'no device'}) must be on the devices of the default routes (${uplink ?? 'none'}, ${other ?? 'none'}) to be exchanged`,
      instead,
    )
  const apart = ([own, stays] as const).find((each) => !sameNetwork(address, each, there.prefix))
  if (apart !== undefined || (home && !sameNetwork(address, own, home.prefix)))
    add(
      from,
      `${address}/${there.prefix} and ${apart ?? own}${home && apart === undefined ? `/${home.prefix}` : ''} are not in one network: only hosts on one segment can hand an address over`,
      instead,
    )
  const others = before.addresses.filter(
    (each) => each.device === there.device && sameNetwork(address, each.address as Ip, there.prefix),
  )
  // Its network's routes and other addresses may go with it (inet_del_ifa), and connections that the host opens bear it.
  if (familyOf(address) === 4 && rest?.device === there.device && others[0]?.address === address)
    add(
      from,
      `${address} is the first address of ${there.device}, which connections of the host itself leave with`,
      `Let ${stays} stand before it in the host's network configuration, or move another address.`,
    )
  if (!before.installed.directory && onDevice(after, address))
    add(to, `${address} is on this host already, and on ${from}, too`, 'Take it away on one of them.')
  return problems
}

const onDevice = (facts: HostFacts, ip: Ip): HostAddress | undefined =>
  facts.addresses.find(({ address, device }) => address === ip && device !== 'lo')

const uplinkOf = (facts: HostFacts, ip: Ip): string | undefined =>
  facts.defaultRoutes.find(({ family }) => family === familyOf(ip))?.device

function sameNetwork(a: Ip, b: Ip, length: number): boolean {
  if (a.includes(':') !== b.includes(':')) return false
  const [one, other] = [parsePrefix(`${a}/${length}`), parsePrefix(`${b}/${length}`)]
  return one.ok && other.ok && one.value === other.value
}
