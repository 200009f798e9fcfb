/** The host's kernel as the agent uses it: the real one (linux.ts) and the fake obey one contract (test/contract). */
import type { Observed } from './observed.js'
import type { Step } from './step.js'

export interface Kernel {
  /**
   * What stands now.
   * @param sysctls full keys to read, e.g. `net.ipv4.conf.eth0.rp_filter`; absent ones are left out.
   */
  observe(sysctls: readonly string[]): Promise<Observed>
  /** @throws FleetmoveError 'kernel' that names the step and what the kernel said. */
  perform(step: Step): Promise<void>
}
