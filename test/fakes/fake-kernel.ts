/**
 * A kernel in memory that keeps the same promises as agent/kernel/linux.ts: test/contract/kernel.test.ts
 * runs the same assertions on both.
 */
import type { Kernel, SysctlKeys } from '../../agent/kernel/kernel.js'
import type {
  Observed,
  ObservedAside,
  ObservedLink,
  ObservedTable,
  ObservedWireguard,
} from '../../agent/kernel/observed.js'
import type { Performers, Step } from '../../agent/kernel/step.js'
import type { AddressSpec, RouteSpec, RuleSpec } from '../../agent/plan/desired.js'
import { processFingerprint } from '../../agent/plan/difference.js'
import type { Element } from '../../agent/plan/elements.js'
import { commentOf, iptablesWords } from '../../agent/plan/firewall/allow.js'
import type { ForeignChain } from '../../agent/plan/firewall/chain.js'
import { placeKey } from '../../agent/plan/firewall/firewall-rules.js'
import { noOverrides, type Overrides } from '../../agent/plan/overrides.js'
import { familyOf, hostPort } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'

export interface FakeKernelOptions {
  /** Links beside lo. */
  links?: readonly ObservedLink[]
  addresses?: readonly AddressSpec[]
  uplinks?: Observed['uplinks']
  /** Over the defaults of lo, `all`, `default` and the links. */
  sysctls?: Readonly<Record<string, string>>
  /** Whether the kernel has WireGuard of its own (true if left away). */
  wireguard?: boolean
}

const lo: ObservedLink = { name: 'lo', kind: '', mtu: 65536, up: true, vxlan: null }

const leaves4 = {
  forwarding: '0',
  rp_filter: '0',
  route_localnet: '0',
  src_valid_mark: '0',
  accept_local: '0',
  arp_ignore: '0',
  arp_announce: '0',
}
const leaves6 = { forwarding: '0', accept_ra: '1', disable_ipv6: '0' }
const global = {
  'net.ipv4.ip_forward': '0',
  'net.ipv4.conf.all.send_redirects': '1',
  'net.ipv4.tcp_early_demux': '1',
  'net.ipv4.tcp_fwmark_accept': '0',
  'net.core.rmem_default': '212992',
}

/** IP6_RT_PRIO_USER: what IPv6 makes of metric 0. */
const metric6 = 1024

const addressKey = (a: AddressSpec): string => `${a.device} ${a.ip}/${a.prefix}`
const ruleKey = (r: RuleSpec): string => [r.family, r.priority, r.mark, r.mask, r.table].join(' ')

export class FakeKernel implements Kernel {
  /** Every step that succeeded, in order. */
  readonly performed: Step[] = []
  private links: ObservedLink[]
  private addresses: AddressSpec[]
  private routes: RouteSpec[] = []
  private rules: RuleSpec[] = []
  private readonly sysctls = new Map<string, string>(Object.entries(global))
  private table: ObservedTable | null = null
  private asides: ObservedAside[] = []
  private wireguard: ObservedWireguard[] = []
  /** Chains of other firewalls. */
  firewalls: ForeignChain[] = []
  private readonly processes = new Map<string, { fingerprint: string; device: string | null }>()
  private readonly uplinks: Observed['uplinks']
  private readonly hasWireguard: boolean
  private refusal: { matches: (step: Step) => boolean; reason: string } | null = null

  constructor(options: FakeKernelOptions = {}) {
    this.links = [lo, ...(options.links ?? [])].map((link) => ({ ...link }))
    this.addresses = (options.addresses ?? []).map((address) => ({ ...address }))
    this.uplinks = options.uplinks ?? []
    this.hasWireguard = options.wireguard ?? true
    for (const name of ['all', 'default']) this.setDeviceKeys(name, leaves4, leaves6)
    for (const link of this.links) this.inheritKeys(link.name)
    for (const [key, value] of Object.entries(options.sysctls ?? {})) this.sysctls.set(key, value)
  }

  /** The next step for which this holds fails with this reason; once. */
  refuseNext(matches: (step: Step) => boolean, reason: string): void {
    this.refusal = { matches, reason }
  }

  /** What somebody else does behind our back. */
  meddle(change: {
    deleteLink?: string
    deleteRules?: true
    deleteTable?: true
    /** One rule of this chain, one element of this map. */
    deleteRuleOf?: string
    deleteElementOf?: string
    /** The overrides of listeners that are in a gap. */
    deleteOverrides?: true
    killProcess?: string
    sysctl?: [string, string]
  }): void {
    if (change.deleteLink !== undefined) this.removeLink(change.deleteLink)
    if (change.deleteRules) this.rules = []
    if (change.deleteTable) this.table = null
    if (change.deleteRuleOf !== undefined && this.table) this.table.rules[change.deleteRuleOf]! -= 1
    if (change.deleteElementOf !== undefined && this.table) this.table.elements[change.deleteElementOf]! -= 1
    if (change.deleteOverrides && this.table) this.table.overrides = structuredClone(noOverrides)
    if (change.killProcess !== undefined) this.endProcess(change.killProcess)
    if (change.sysctl) this.writeSysctl(...change.sysctl)
  }

  async observe(sysctls: SysctlKeys): Promise<Observed> {
    const keys = typeof sysctls === 'function' ? sysctls(this.links) : sysctls
    const values = keys.flatMap((key) => {
      const value = this.sysctls.get(key)
      return value === undefined ? [] : [[key, value]]
    })
    return structuredClone({
      links: this.links,
      addresses: this.addresses,
      routes: this.routes,
      rules: this.rules,
      uplinks: this.uplinks,
      sysctls: Object.fromEntries(values) as Record<string, string>,
      table: this.table,
      asides: this.asides,
      wireguard: this.wireguard,
      firewalls: this.firewalls,
      processes: Object.fromEntries([...this.processes].map(([name, { fingerprint }]) => [name, fingerprint])),
    })
  }

  async perform(step: Step): Promise<void> {
    if (this.refusal?.matches(step)) {
      const { reason } = this.refusal
      this.refusal = null
      throw refused(step, reason)
    }
    const perform = this.performers[step.do] as (step: Step) => Promise<void>
    await perform(step)
    this.performed.push(structuredClone(step))
  }

  private readonly performers: Performers = {
    'set-sysctl': async (step) => {
      if (!this.sysctls.has(step.key)) throw refused(step, `there is no parameter ${step.key}`)
      this.writeSysctl(step.key, step.value)
    },

    'add-link': async (step) => {
      const { link } = step
      const present = this.links.find(({ name }) => name === link.name)
      const vxlan =
        link.kind === 'vxlan' ? { vni: link.vni, local: link.local, remote: link.remote, port: link.port } : null
      const kind = link.kind === 'tap' ? 'tun' : link.kind
      if (present) {
        const same = present.kind === kind && JSON.stringify(present.vxlan) === JSON.stringify(vxlan)
        if (same) return
        throw refused(step, 'there is another device of this name already')
      }
      if (link.kind === 'vxlan' && !this.has(link.under)) throw refused(step, `there is no device ${link.under}`)
      if (link.kind === 'wireguard' && link.userspace) throw refused(step, 'made by its wireguard-go process')
      if (link.kind === 'wireguard' && !this.hasWireguard) throw refused(step, 'this kernel has no wireguard devices')
      // A tap is made by TUNSETIFF, which takes no MTU.
      this.makeLink({ name: link.name, kind, mtu: link.kind === 'tap' ? 1500 : link.mtu, up: false, vxlan })
      if (link.kind === 'vxlan') this.under.set(link.name, link.under)
      if (link.kind === 'wireguard') this.wireguard.push({ name: link.name, listenPort: 0, peers: [] })
    },

    'delete-link': async ({ name }) => this.removeLink(name),

    'set-link': async (step) => {
      const link = this.links.find(({ name }) => name === step.name)
      if (!link) throw refused(step, `there is no device ${step.name}`)
      link.mtu = step.mtu
      // wg_open
      if (link.kind === 'wireguard' && !link.up) this.writeSysctl('net.ipv4.conf.all.send_redirects', '0')
      link.up = true
    },

    'configure-wireguard': async (step) => {
      const { link } = step
      const device = this.wireguard.find(({ name }) => name === link.name)
      if (!device) throw refused(step, `there is no device ${link.name}`)
      device.listenPort = link.listenPort
      device.peers = [
        {
          publicKey: link.peer.publicKey,
          endpoint: hostPort(link.peer.endpoint.address, link.peer.endpoint.port),
          allowedIps: [...link.peer.allowedIps],
        },
      ]
    },

    'start-process': async (step) => {
      const { process } = step
      const fingerprint = processFingerprint(process)
      if (this.processes.get(process.name)?.fingerprint === fingerprint) return
      this.endProcess(process.name)
      const device = process.argv[0] === 'wireguard-go' ? process.argv.at(-1)! : null
      if (device !== null) {
        const leftover = this.links.find(({ name }) => name === device)
        if (leftover && leftover.kind !== 'tun') throw refused(step, `device ${device} is there already`)
        this.removeLink(device)
        this.makeLink({ name: device, kind: 'tun', mtu: 1420, up: false, vxlan: null })
        this.wireguard.push({ name: device, listenPort: 0, peers: [] })
      }
      this.processes.set(process.name, { fingerprint, device })
    },

    'stop-process': async ({ name }) => this.endProcess(name),

    'add-address': async (step) => {
      const { address } = step
      if (!this.has(address.device)) throw refused(step, `there is no device ${address.device}`)
      if (familyOf(address.ip) === 6 && this.sysctls.get(`net.ipv6.conf.${address.device}.disable_ipv6`) === '1') {
        throw refused(step, `IPv6 is switched off on ${address.device}`)
      }
      if (!this.addresses.some((a) => addressKey(a) === addressKey(address))) this.addresses.push({ ...address })
    },

    'delete-address': async ({ address }) => {
      this.addresses = this.addresses.filter((a) => addressKey(a) !== addressKey(address))
      // With its last IPv4 address a device loses its IPv4 routes (fib_disable_ip); IPv6 keeps them.
      const left = this.addresses.some((a) => a.device === address.device && familyOf(a.ip) === 4)
      if (familyOf(address.ip) === 4 && !left) {
        this.routes = this.routes.filter((r) => r.device !== address.device || r.family !== 4)
      }
    },

    'announce-address': async (step) => {
      if (!this.has(step.device)) throw refused(step, `there is no device ${step.device}`)
    },

    'load-aside': async ({ aside: { family, fingerprint, rules } }) => {
      this.asides = [...this.asides.filter((each) => each.family !== family), { family, fingerprint, rules }]
    },

    'delete-aside': async ({ family }) => {
      this.asides = this.asides.filter((each) => each.family !== family)
    },

    'add-route': async (step) => {
      const route = { ...step.route }
      if (route.kind === 'unicast') {
        const link = this.links.find(({ name }) => name === route.device)
        if (!link) throw refused(step, `there is no device ${route.device}`)
        if (!link.up) throw refused(step, 'the device is down (ENETDOWN)')
      }
      if (route.family === 6 && route.metric === 0) route.metric = metric6
      // One route a table and metric: another next hop replaces it.
      this.routes = this.routes.filter((r) => !sameSlot(r, route))
      this.routes.push(route)
    },

    'delete-route': async ({ route }) => {
      this.routes = this.routes.filter(
        (r) => !(sameSlot(r, route) && r.kind === route.kind && r.device === route.device && r.via === route.via),
      )
    },

    'add-rule': async ({ rule }) => {
      if (!this.rules.some((r) => ruleKey(r) === ruleKey(rule))) this.rules.push({ ...rule })
    },

    'delete-rule': async ({ rule }) => {
      this.rules = this.rules.filter((r) => ruleKey(r) !== ruleKey(rule))
    },

    'load-ruleset': async ({ fingerprint, chains, counters, rules, elements, overrides, text }) => {
      const deleted = (what: string): Set<string> =>
        new Set(
          [...text.matchAll(new RegExp(`^delete ${what} inet fleetmove (\\S+)$`, 'gm'))].map((match) => match[1]!),
        )
      const merged = (before: readonly string[], now: readonly string[], gone: Set<string>): string[] =>
        [...new Set([...before, ...now])].filter((name) => !gone.has(name))
      this.table = {
        fingerprint,
        chains: merged(this.table?.chains ?? [], chains, deleted('chain')),
        counters: merged(this.table?.counters ?? [], counters, deleted('counter')),
        rules: { ...rules },
        elements: { ...elements },
        overrides: structuredClone(overrides),
      }
    },

    'change-elements': async (step) => {
      const wanted = new Map<string, readonly string[]>(Object.entries(this.table?.overrides ?? {}))
      const keyOf = (words: string): string => words.split(' : ')[0]!
      const isOurs = ({ table }: Element): boolean => table === 'fleetmove'
      for (const { set, key } of step.remove.filter(isOurs)) {
        const there = wanted.get(set)
        if (!there?.some((words) => keyOf(words) === key)) throw refused(step, `there is no ${key} (ENOENT)`)
        wanted.set(
          set,
          there.filter((words) => keyOf(words) !== key),
        )
      }
      for (const { set, key, verdict } of step.add.filter(isOurs)) {
        const there = wanted.get(set)
        const words = `${key} : ${verdict}`
        if (!there) throw refused(step, `there is no ${set} (ENOENT)`)
        if (there.some((each) => each !== words && keyOf(each) === key)) throw refused(step, `${key} is there (EBUSY)`)
        wanted.set(set, [...new Set([...there, words])].sort())
      }
      // Of holds this knows nothing.
      if (this.table) this.table.overrides = Object.fromEntries(wanted) as unknown as Overrides
    },

    'delete-table': async () => {
      this.table = null
    },

    'add-firewall-rule': async (step) => {
      const { place, allow } = step.rule
      const chain = this.firewalls.find((each) => placeKey(each.place) === placeKey(place))
      if (!chain) throw refused(step, `there is no chain ${place.chain}`)
      const comment = commentOf(allow)
      if (chain.ours.some((rule) => rule.comment === comment)) return
      const words = place.by === 'iptables' ? iptablesWords(allow) : []
      chain.ours.push({ comment, effective: true, words })
    },

    'remove-firewall-rule': async ({ place, comment }) => {
      const chain = this.firewalls.find((each) => placeKey(each.place) === placeKey(place))
      if (chain) chain.ours = chain.ours.filter((rule) => rule.comment !== comment)
    },
  }

  /** VXLAN device → the device that it rides on. */
  private readonly under = new Map<string, string>()

  private has(name: string): boolean {
    return this.links.some((link) => link.name === name)
  }

  private makeLink(link: ObservedLink): void {
    this.links.push(link)
    this.inheritKeys(link.name)
  }

  private removeLink(name: string): void {
    // A VXLAN goes with the device that it rides on (vxlan_handle_lowerdev_unregister).
    for (const [upper, lower] of [...this.under]) if (lower === name) this.removeLink(upper)
    this.under.delete(name)
    this.links = this.links.filter((link) => link.name !== name)
    this.addresses = this.addresses.filter((address) => address.device !== name)
    this.routes = this.routes.filter((route) => route.device !== name)
    this.wireguard = this.wireguard.filter((device) => device.name !== name)
    for (const key of [...this.sysctls.keys()]) if (deviceOf(key) === name) this.sysctls.delete(key)
    // wireguard-go ends when its device is taken away.
    for (const [process, { device }] of [...this.processes]) if (device === name) this.processes.delete(process)
  }

  private endProcess(name: string): void {
    const device = this.processes.get(name)?.device ?? null
    this.processes.delete(name)
    if (device !== null) this.removeLink(device)
  }

  private setDeviceKeys(device: string, four: Record<string, string>, six: Record<string, string>): void {
    for (const [leaf, value] of Object.entries(four)) this.sysctls.set(`net.ipv4.conf.${device}.${leaf}`, value)
    for (const [leaf, value] of Object.entries(six)) this.sysctls.set(`net.ipv6.conf.${device}.${leaf}`, value)
  }

  /** A new device starts with the values of `default`. */
  private inheritKeys(device: string): void {
    for (const [family, leaves] of [
      ['ipv4', leaves4],
      ['ipv6', leaves6],
    ] as const) {
      for (const [leaf, value] of Object.entries(leaves)) {
        this.sysctls.set(
          `net.${family}.conf.${device}.${leaf}`,
          this.sysctls.get(`net.${family}.conf.default.${leaf}`) ?? value,
        )
      }
    }
  }

  private writeSysctl(key: string, value: string): void {
    this.sysctls.set(key, value)
    // inet_forward_change and addrconf_fixup_forwarding write every device's, and the default's.
    const family = {
      'net.ipv4.conf.all.forwarding': 'ipv4',
      'net.ipv4.ip_forward': 'ipv4',
      'net.ipv6.conf.all.forwarding': 'ipv6',
    }[key]
    if (family === undefined) return
    for (const other of this.sysctls.keys()) {
      if (other.startsWith(`net.${family}.conf.`) && other.endsWith('.forwarding')) this.sysctls.set(other, value)
    }
    if (family === 'ipv4') this.sysctls.set('net.ipv4.ip_forward', value)
  }
}

const sameSlot = (a: RouteSpec, b: RouteSpec): boolean =>
  a.family === b.family && a.table === b.table && a.metric === (b.family === 6 && b.metric === 0 ? metric6 : b.metric)

const deviceOf = (key: string): string | null => /^net\.ipv[46]\.conf\.(.+)\.[a-z0-9_]+$/.exec(key)?.[1] ?? null

const refused = (step: Step, reason: string): FleetmoveError =>
  new FleetmoveError('kernel', { message: `could not ${step.do}: ${reason}` })
