/** Which of a host's addresses its clients use. */
import { type Family, familyOf, type Ip } from '../../../proto/model/address.js'
import { isPrivate } from '../addressing.js'
import { type DraftAddress, doubt, type Remark } from './draft.js'

export interface AddressFacts {
  /** Global scope, in the order in which the host shows them. */
  interfaces: readonly { device: string; ip: Ip }[]
  defaultDevices: Readonly<Record<Family, string | undefined>>
  temporary: ReadonlySet<string>
  /** The addresses that the SSH destination stands for; empty where it leads through a jump host. */
  reachedAt: readonly Ip[]
}

/** Bridges and tunnels of containers, machines and others, which nobody outside reaches. */
const inner = /^(lo|docker|br-|veth|virbr|cni|flannel|cali|lxc|lxdbr|podman|tun|tap|wg|fm|tailscale|zt)/

/**
 * Public addresses where there are some; else the address that we came by, with the private one that the
 * host has for it, since a provider translates between them; else private ones, for moves inside a network.
 */
export function draftAddresses(facts: AddressFacts): { addresses: DraftAddress[]; remarks: Remark[] } {
  const remarks: Remark[] = []
  const addresses = ([4, 6] as const).flatMap((family): DraftAddress[] => {
    const uplink = facts.defaultDevices[family]
    const all = facts.interfaces.filter(
      ({ device, ip }) =>
        familyOf(ip) === family && !facts.temporary.has(ip) && (device === uplink || !inner.test(device)),
    )
    const own = inOrder(
      all.map(({ ip }) => ip),
      facts.reachedAt,
    )
    const open = own.filter((ip) => !isPrivate(ip))
    if (open.length > 0) return open.map((ip) => ({ public: ip, local: undefined }))
    const behind = all.find(({ device }) => device === uplink)?.ip ?? own[0]
    const reached = facts.reachedAt.find((ip) => familyOf(ip) === family && !own.includes(ip) && !isPrivate(ip))
    if (reached !== undefined && behind !== undefined) {
      remarks.push(
        doubt(`${reached} is on no interface: taken for the public address of ${behind}, one to one`, 'addresses'),
      )
      return [{ public: reached, local: behind }]
    }
    // Unique local IPv6 beside IPv4 is for inside alone.
    if (family === 6 || own.length === 0) return []
    remarks.push(doubt('only private addresses were found: name the public ones that clients use', 'addresses'))
    return own.map((ip) => ({ public: ip, local: undefined }))
  })
  return { addresses, remarks }
}

/** The address that we came by first; IPv4 as the host shows it, IPv6 sorted: there the newest is shown first. */
function inOrder(ips: readonly Ip[], first: readonly Ip[]): Ip[] {
  const unique = [...new Set(ips)]
  const sorted = unique.some((ip) => familyOf(ip) === 6) ? unique.sort(byGroups) : unique
  return [...sorted.filter((ip) => first.includes(ip)), ...sorted.filter((ip) => !first.includes(ip))]
}

const byGroups = (a: Ip, b: Ip): number => (wide(a) < wide(b) ? -1 : 1)

/** IPv6 text with all its zeros, which sorts as the number does. */
function wide(ip: Ip): string {
  const [head = '', tail] = ip.split('::')
  const groups = (text: string | undefined): string[] => (text ?? '').split(':').filter((group) => group !== '')
  const [before, after] = [groups(head), groups(tail)]
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0')
  return [...before, ...(tail === undefined ? [] : zeros), ...after].map((group) => group.padStart(4, '0')).join(':')
}
