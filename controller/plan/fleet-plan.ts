/** What `fleetmove plan` finds out, as it is shown, saved (`-o`) and compared with by `up FILE`. Types alone. */
import type { Stage, TunnelDriver } from '../../proto/model/host-spec.js'
import type { Name } from '../../proto/model/names.js'

export interface FleetPlan {
  fleet: Name
  /** `up` would change something. */
  pending: boolean
  hosts: PlannedHost[]
  paths: PlannedPath[]
  tunnels: PlannedTunnel[]
  services: PlannedService[]
  /** In the order of `up`; without those in which nothing happens. Empty where there are problems. */
  phases: PlannedPhase[]
  /** Hosts whose agent is installed and doesn't run: its ledger decides what comes after it starts. */
  unknown: Name[]
  /** What stands in the way of `up`. */
  problems: { host?: string; message: string; hint?: string }[]
}

export type AgentStanding = 'none' | 'stopped' | 'runs' | 'another version runs'

export interface PlannedHost {
  name: Name
  /** Only probes are sent from a vantage. */
  vantage: boolean
  os: string
  /** `Linux 6.1.0-18-amd64 x86_64` */
  kernel: string
  systemd: boolean
  /** Tool → version, '' where it doesn't say. */
  tools: Record<string, string>
  /** What the kernel can do, in words → yes, no, unknown. */
  features: Record<string, string>
  /** This host's clock minus ours, and how far off that may be; null where it couldn't be asked. */
  clock: { offsetMs: number; errorMs: number } | null
  /** null: nothing tracks connections there yet. */
  conntrack: { count: number; max: number } | null
  /** Free, in KiB, by directory. */
  diskKib: Record<string, number>
  agent: AgentStanding
  /** Chains that drop what is forwarded, and what lets ours pass. */
  firewalls: string[]
  /** The newest that the host has taken; 0: none. */
  generation: number
  /** Facts that the steps depend on: when one has changed, the plan isn't true any more. */
  deciding: Record<string, string>
  /** Worth a thought, and not in the way. */
  warnings: string[]
}

export interface PlannedPath {
  a: Name
  b: Name
  port: number
  /** Bytes of the whole IP packet by direction; 0: nothing gets through. null: not measured. */
  mtu: { aToB: number; bToA: number } | null
  /** How it was measured, or why not. */
  how: string
}

export interface PlannedTunnel {
  a: Name
  b: Name
  index: number
  driver: TunnelDriver
  port: number
  mtu: number
  /** Why this driver; or that it stands. */
  why: string
}

export interface PlannedService {
  name: Name
  from: Name
  to: Name
  stage: Stage
  active: Name
  listen: string[]
  strategy: 'rolling' | 'recreate'
  /** What `up` does with it. */
  now: string
  /** What `advance` will do later, and what clients notice of it: sentences. */
  later: string[]
}

export interface PlannedPhase {
  what: 'agents' | 'tunnels' | 'forwarding'
  hosts: PlannedHostSteps[]
  /** What is done when the hosts have done theirs: sentences. */
  last: string[]
}

export interface PlannedHostSteps {
  host: Name
  /** Sentences. */
  steps: string[]
  /** The table inet fleetmove, whole; null where it doesn't change. */
  ruleset: { present: string; planned: string } | null
  files: { path: string; content: string; present: string }[]
}
