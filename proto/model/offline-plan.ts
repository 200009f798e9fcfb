/** What the controller asks of the agent's program where no agent runs yet, over its standard streams. */
import type { HostFacts } from './facts.js'

/** `Spec` is the wire's form of a host spec, which the agent checks as it checks what comes by gRPC. */
export interface OfflineHost<Spec> {
  facts: HostFacts
  /** Changes one after the other. */
  specs: Spec[]
}

/** One of those changes. */
export interface OfflinePlan {
  /** Sentences. */
  steps: string[]
  /** The whole table as it will be; '' for none. */
  ruleset: string
  files: { path: string; content: string }[]
}
