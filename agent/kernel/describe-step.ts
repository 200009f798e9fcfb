import { type Family, familyOf } from '../../proto/model/address.js'
import type { RouteSpec } from '../plan/desired.js'
import type { Element } from '../plan/elements.js'
import { additionText } from '../plan/firewall/addition.js'
import { describeAllow } from '../plan/firewall/allow.js'
import type { Place } from '../plan/firewall/chain.js'
import { routeProtocol, table } from '../plan/own.js'
import type { Step, StepKind, StepOf } from './step.js'

const chainOf = (place: Place): string =>
  place.by === 'iptables'
    ? `chain ${place.chain} of ${place.command}`
    : `chain ${place.chain} of the nftables table ${place.family} ${place.table}`
const ipOf = (family: Family): string => (family === 4 ? 'ip' : 'ip6')
const hex = (value: number): string => `0x${value.toString(16).padStart(8, '0')}`
const route = (r: RouteSpec): string =>
  `IPv${r.family} ${r.kind === 'blackhole' ? 'blackhole ' : ''}default route${r.via ? ` via ${r.via}` : ''}${r.device ? ` dev ${r.device}` : ''} in table ${r.table}, metric ${r.metric}, protocol ${routeProtocol}`

/** A range of ports would be a long sentence. */
const keysOf = (elements: readonly Element[]): string => {
  const [first, ...rest] = new Set(elements.map(({ key }) => key.replaceAll(' . ', ' ')))
  return rest.length === 0 ? `${first}` : `${first} and ${rest.length} more`
}

const sentences: { [K in StepKind]: (step: StepOf<K>) => string } = {
  'set-sysctl': (s) => `set ${s.key} to ${s.value}`,
  'add-link': ({ link }) =>
    link.kind === 'vxlan'
      ? `make VXLAN device ${link.name} to ${link.remote} over ${link.under}`
      : `make ${link.kind === 'tap' ? 'tap' : 'WireGuard'} device ${link.name}`,
  'delete-link': (s) => `remove device ${s.name}`,
  'configure-wireguard': ({ link }) =>
    `let ${link.name} listen on UDP ${link.listenPort} for peer ${link.peer.publicKey} at ${link.peer.endpoint.address} port ${link.peer.endpoint.port}`,
  'set-link': (s) => `bring ${s.name} up with MTU ${s.mtu}`,
  'start-process': (s) => `start ${s.process.argv.join(' ')}`,
  'stop-process': (s) => `stop ${s.name}`,
  'add-address': ({ address: a }) => `add ${a.ip}/${a.prefix} to ${a.device}`,
  'delete-address': ({ address: a }) => `remove ${a.ip}/${a.prefix} from ${a.device}`,
  'announce-address': ({ ip, device }) =>
    `tell the segment of ${device} that ${ip} is here (${familyOf(ip) === 4 ? 'gratuitous ARP' : 'unsolicited neighbour advertisement'})`,
  'add-route': (s) => `add ${route(s.route)}`,
  'delete-route': (s) => `remove ${route(s.route)}`,
  'add-rule': ({ rule: r }) => `send IPv${r.family} packets marked ${hex(r.mark)}/${hex(r.mask)} to table ${r.table}`,
  'delete-rule': ({ rule: r }) =>
    `no longer send IPv${r.family} packets marked ${hex(r.mark)}/${hex(r.mask)} to table ${r.table}`,
  'load-ruleset': (s) => `load table inet ${table} (${s.fingerprint}: ${s.chains.length} chains)`,
  'change-elements': ({ remove, add }) => {
    const waiting = add.filter(({ verdict }) => verdict === 'drop')
    const kept = new Set(waiting.map(({ key }) => key))
    const others = [...remove, ...add].filter(({ key }) => !kept.has(key))
    return [
      ...(waiting.length > 0 ? [`let new clients of ${keysOf(waiting)} wait`] : []),
      ...(others.length > 0 ? [`let new clients of ${keysOf(others)} go on`] : []),
    ].join(', ')
  },
  'delete-table': () => `delete table inet ${table}`,
  'load-aside': ({ aside: { family, fingerprint } }) => `load table ${ipOf(family)} ${table} (${fingerprint})`,
  'delete-aside': ({ family }) => `delete table ${ipOf(family)} ${table}`,
  'add-firewall-rule': ({ rule: { place, allow, before } }) =>
    `let ${chainOf(place)} pass ${describeAllow(allow)}: ${additionText({ place, allow, before })}`,
  'remove-firewall-rule': ({ place, comment }) => `take the rule "${comment}" out of ${chainOf(place)}`,
}

/** One step as a sentence without a full stop, as `plan`, the log and errors show it. */
export function describeStep(step: Step): string {
  const sentence = sentences[step.do] as (step: Step) => string
  return sentence(step)
}
