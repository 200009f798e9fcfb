/** The host's kernel as the agent uses it: the real one (linux.ts) and the fake obey one contract (test/contract). */
import type { Observed, ObservedLink } from './observed.js'
import type { Step } from './step.js'

/** Full keys, e.g. `net.ipv4.conf.eth0.rp_filter`; or what names them once it is known which links there are. */
export type SysctlKeys = readonly string[] | ((links: readonly ObservedLink[]) => readonly string[])

export interface Kernel {
  /**
   * What stands now.
   * @param sysctls to read; absent ones are left out.
   */
  observe(sysctls: SysctlKeys): Promise<Observed>
  /** @throws FleetmoveError 'kernel' that names the step and what the kernel said. */
  perform(step: Step): Promise<void>
}
