/**
 * The instruction set: all that this agent ever does to a host. One union gives the plan's text, the
 * progress, the fake kernel and the tests; performers are a mapped type over it.
 */
import type { Family, Ip } from '../../proto/model/address.js'
import type {
  AddressSpec,
  AsideTable,
  ProcessSpec,
  RouteSpec,
  RuleSpec,
  Ruleset,
  TapLink,
  VxlanLink,
  WireguardLink,
} from '../plan/desired.js'
import type { ElementChange } from '../plan/elements.js'
import type { FirewallRule } from '../plan/firewall/allow.js'
import type { Place } from '../plan/firewall/chain.js'

export type Step =
  | { do: 'set-sysctl'; key: string; value: string }
  | { do: 'add-link'; link: WireguardLink | VxlanLink | TapLink }
  | { do: 'delete-link'; name: string }
  | { do: 'configure-wireguard'; link: WireguardLink }
  | { do: 'set-link'; name: string; mtu: number; up: true }
  | { do: 'start-process'; process: ProcessSpec }
  | { do: 'stop-process'; name: string }
  | { do: 'add-address'; address: AddressSpec }
  | { do: 'delete-address'; address: AddressSpec }
  /** Tells the segment which device has it now. */
  | { do: 'announce-address'; device: string; ip: Ip }
  | { do: 'add-route'; route: RouteSpec }
  | { do: 'delete-route'; route: RouteSpec }
  | { do: 'add-rule'; rule: RuleSpec }
  | { do: 'delete-rule'; rule: RuleSpec }
  /** One transaction: `text` goes to `nft -f` as it stands. `hooks`: with the chains in netfilter's hooks. */
  | ({ do: 'load-ruleset'; text: string; hooks: boolean } & Pick<
      Ruleset,
      'fingerprint' | 'chains' | 'counters' | 'rules' | 'elements' | 'overrides'
    >)
  /** All or none, by one message to the kernel. */
  | ({ do: 'change-elements' } & ElementChange)
  | { do: 'delete-table' }
  | { do: 'load-aside'; aside: AsideTable }
  | { do: 'delete-aside'; family: Family }
  /** A rule of ours in another firewall's chain. */
  | { do: 'add-firewall-rule'; rule: FirewallRule }
  /** Found again by its comment; by iptables only by its words. */
  | { do: 'remove-firewall-rule'; place: Place; comment: string; words: string[] }

export type StepKind = Step['do']
export type StepOf<K extends StepKind> = Extract<Step, { do: K }>
export type Performers = { [K in StepKind]: (step: StepOf<K>) => Promise<void> }
