/** What a host has said → its entry in the draft. */
import type { Ip } from '../../proto/model/address.js'
import type { HostFacts } from '../../proto/model/facts.js'
import { parseHostIp } from '../../proto/parse.js'
import { type DraftHost, remark } from '../plan/draft/draft.js'
import { draftAddresses } from '../plan/draft/draft-addresses.js'
import type { Survey } from '../plan/draft/survey.js'

export interface HostRecord {
  name: string
  ssh: string
  become: 'none' | 'sudo'
  facts: HostFacts
  survey: Survey
  /** The addresses that the SSH destination stands for; empty where it leads through a jump host. */
  reachedAt: readonly Ip[]
}

export function draftHost({ name, ssh, become, facts, survey, reachedAt }: HostRecord): DraftHost {
  const device = (family: 4 | 6) => facts.defaultRoutes.find((route) => route.family === family)?.device
  const { addresses, remarks } = draftAddresses({
    interfaces: facts.addresses
      .filter(({ scope }) => scope === 'global')
      .flatMap((each) => hostIps(each.address).map((ip) => ({ device: each.device, ip }))),
    defaultDevices: { 4: device(4), 6: device(6) },
    temporary: survey.temporary,
    reachedAt,
  })
  const about = [facts.hostname, facts.os.name, `${facts.system} ${facts.kernel.release}`, facts.arch]
  return { name, ssh, become, addresses, remarks: [remark(about.filter(Boolean).join(', ')), ...remarks] }
}

/** Text from a host or from DNS, if it is an address that others can reach. */
export const hostIps = (text: string): Ip[] => {
  const ip = parseHostIp(text)
  return ip.ok ? [ip.value] : []
}
