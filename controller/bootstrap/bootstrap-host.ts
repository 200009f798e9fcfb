/**
 * One host from an address to a channel, in two halves: `reachHost` changes nothing, so that the facts
 * of all hosts can be judged (controller/plan/preflight.ts) before `installHost` changes the first.
 */
import type { BasicFacts, HostFacts } from '../../proto/model/facts.js'
import type { AskSecret } from '../ssh/ask-secret.js'
import { asRoot, type Become, type RootAccess } from '../ssh/become.js'
import { connectSsh } from '../ssh/connect.js'
import { type InstalledAgent, installedAgent, startAgent } from './agent-service.js'
import { agentFor } from './bundle.js'
import { collectBasics, collectFacts } from './facts.js'
import { runtimeFor } from './runtime.js'
import { upload } from './upload.js'

export interface HostAccess {
  /** Its name in fleet.yaml. */
  host: string
  /** `[user@]host[:port]`. */
  ssh: string
  become: Become
}

export interface ReachOptions {
  askSecret?: AskSecret | undefined
  /** `ssh -F`. */
  configFile?: string
  log?: (message: string) => void
}

export interface ReachedHost<Facts extends BasicFacts = HostFacts> {
  host: string
  root: RootAccess
  facts: Facts
}

/**
 * Connects and asks for all facts. `root.connection.close()` ends it.
 *
 * @throws FleetmoveError: `usage`, `host-key`, `unreachable`, `timeout`, `preflight`.
 */
export const reachHost = (access: HostAccess, options?: ReachOptions): Promise<ReachedHost> =>
  reach(access, options, collectFacts)

/** The same with the few facts that are needed where an agent runs already. */
export const reachAgentHost = (access: HostAccess, options?: ReachOptions): Promise<ReachedHost<BasicFacts>> =>
  reach(access, options, collectBasics)

const reach = async <Facts extends BasicFacts>(
  { host, ssh, become }: HostAccess,
  options: ReachOptions = {},
  collect: (root: RootAccess) => Promise<Facts>,
): Promise<ReachedHost<Facts>> => {
  const connection = await connectSsh(ssh, { ...options, host })
  try {
    const root = asRoot(connection, become, options.askSecret)
    return { host, root, facts: await collect(root) }
  } catch (error) {
    await connection.close()
    throw error
  }
}

export interface Installation {
  installed: InstalledAgent
  /** Bytes sent; 0 where all was there. */
  sent: number
  service: 'unchanged' | 'started'
}

/**
 * Uploads what is missing and sees that this version of the agent runs. Doing it twice changes nothing.
 *
 * @param bundle where the agent's bundle is, if not where the build puts it.
 */
export const installHost = async ({ host, root, facts }: ReachedHost, bundle?: string): Promise<Installation> => {
  const runtime = await runtimeFor(facts, host)
  const agent = await agentFor(facts, host, bundle)
  const sent = await Promise.all([
    upload(root, runtime, facts.installed.runningRuntime === runtime.hash),
    upload(root, agent),
  ])
  const installed = installedAgent(runtime, agent)
  return { installed, sent: sent[0] + sent[1], service: await startAgent(root, installed, facts.systemd) }
}

/** Whether the agent that this version of fleetmove would install is the one that runs. */
export const runsExpected = async ({ host, facts }: ReachedHost<BasicFacts>): Promise<boolean> => {
  const { socket, runningAgent } = facts.installed
  return socket && runningAgent !== '' && (await agentFor(facts, host)).hash === runningAgent
}
